import { ingestion } from '@millrace/contracts';
import { operationOf } from '@millrace/inputs';
import { MeshError, newId } from '@millrace/kernel';
import { operationProblem } from '@millrace/sources';
import { parseTimeUs } from './rows.ts';

/** Where an event's envelope is taken from; without either, the line is sent as it is. */
export interface EnvelopeFields {
  readonly idField?: string;
  readonly timeField?: string;
  /** Says what the line does: insert, update or delete, or c, r, u or d. */
  readonly operationField?: string;
}

/** JSON with the source text of its values, which TypeScript's es2024 library does not have yet. */
const exactJson = JSON as unknown as {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
  isRawJSON(value: unknown): value is { readonly rawJSON: string };
};

/** A line of JSON as an event. MALFORMED_PAYLOAD, MISSING_FIELD, WRONG_TYPE and INVALID_ARGUMENT name the line. */
export function toEvent(text: string, line: number, envelope: EnvelopeFields): ingestion.Event {
  const { idField, timeField, operationField } = envelope;
  const nowUs = BigInt(Date.now()) * 1000n;
  if (idField === undefined && timeField === undefined && operationField === undefined)
    return { id: newId(), eventTimeUs: nowUs, json: Buffer.from(text) };
  if (operationField !== undefined && idField === undefined)
    throw new MeshError('INVALID_ARGUMENT', 'what corrects or deletes needs the id of its event: --id-field', {});
  const fields = parseLine(text, line);
  const id = idField === undefined ? newId() : take(fields, idField, line);
  const isDelete = operationField !== undefined && operationIn(fields, operationField, line) === 'delete';
  if (isDelete) return { id, eventTimeUs: 0n, json: Buffer.alloc(0), operation: ingestion.Operation.DELETE };
  const time = timeField === undefined ? undefined : take(fields, timeField, line);
  return {
    id,
    eventTimeUs: time === undefined ? nowUs : timeOf(time, line),
    json: Buffer.from(JSON.stringify(fields)),
  };
}

/** Numbers that a double would change, as 9007199254740993 or 1e999, keep their text. */
function parseLine(text: string, line: number): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = exactJson.parse(text, (_key, value, { source }) =>
      typeof value === 'number' && source !== undefined && JSON.stringify(value) !== source
        ? exactJson.rawJSON(source)
        : value,
    );
  } catch (cause) {
    throw malformed(line, (cause as Error).message, cause);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw malformed(line, text.slice(0, 40));
  return parsed as Record<string, unknown>;
}

function malformed(line: number, detail: string, cause?: unknown): MeshError {
  return new MeshError(
    'MALFORMED_PAYLOAD',
    `line ${line} is not a JSON object: ${detail}; correct it and publish the file again: events with their own id and time count once`,
    { line },
    { cause },
  );
}

function take(fields: Record<string, unknown>, name: string, line: number): string {
  const value = fields[name];
  delete fields[name];
  if (value === undefined)
    throw new MeshError(
      'MISSING_FIELD',
      `line ${line} has no field "${name}"; fields: ${Object.keys(fields).join(', ')}`,
      {
        line,
        field: name,
      },
    );
  if (exactJson.isRawJSON(value)) return value.rawJSON;
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  throw new MeshError(
    'WRONG_TYPE',
    `line ${line}: field "${name}" is ${JSON.stringify(value)}; write a text or a number`,
    { line, field: name },
  );
}

/** A line without the field is an upsert. */
function operationIn(fields: Record<string, unknown>, name: string, line: number): string {
  const operation = operationOf(fields[name]);
  delete fields[name];
  const wrong = operationProblem(operation);
  if (wrong !== undefined)
    throw new MeshError('INVALID_ARGUMENT', `line ${line}: field "${name}": ${wrong}`, { line, field: name });
  return operation;
}

function timeOf(text: string, line: number): bigint {
  try {
    return parseTimeUs(text);
  } catch (cause) {
    throw new MeshError('INVALID_ARGUMENT', `line ${line}: ${(cause as Error).message}`, { line, text }, { cause });
  }
}
