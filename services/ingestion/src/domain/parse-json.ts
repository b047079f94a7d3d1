import { quote } from '@millrace/kernel';
import { type Problem, problem, typeName } from './problem.ts';

const decoder = new TextDecoder('utf-8', { fatal: true });
const notJson = /(?:^|[[,:\s])[-+]?(NaN|nan|Infinity|inf|-Infinity)\b/;

export type JsonObject = Readonly<Record<string, unknown>>;

/** The payload's JSON object, or why it is not one. */
export function parseJsonObject(payload: Uint8Array): JsonObject | Problem {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8');
  // Only a bad byte (or a genuine U+FFFD) decodes to U+FFFD: look closer just then.
  if (text.includes('\ufffd') && !isUtf8(payload)) {
    return problem('MALFORMED_PAYLOAD', '', 'the payload is not UTF-8; encode the JSON as UTF-8');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    return malformed(text, cause);
  }
  if (!isObject(value)) {
    return problem(
      'MALFORMED_PAYLOAD',
      '',
      `the payload is ${typeName(value)} ${quote(value)}; send one JSON object of fields`,
    );
  }
  return value;
}

function malformed(text: string, cause: unknown): Problem {
  const token = notJson.exec(text);
  const detail = token
    ? `JSON has no ${token[1]}; send null for a nullable field, or leave the event out`
    : `${cause instanceof Error ? cause.message : String(cause)}; send one valid JSON object`;
  return problem('MALFORMED_PAYLOAD', '', `the payload ${quote(text)} is not JSON: ${detail}`);
}

function isUtf8(payload: Uint8Array): boolean {
  try {
    decoder.decode(payload);
    return true;
  } catch {
    return false;
  }
}

export function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
