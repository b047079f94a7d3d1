import type { definitions } from '@millrace/contracts';
import { fieldName } from '@millrace/kernel';
import { type Misfit, misfits } from './avro/resolution.ts';
import { parseAvro } from './avro/schema.ts';
import { SchemaError } from './bad-payload.ts';
import { breakingChanges } from './protobuf/breaking.ts';
import { parseMessage } from './protobuf/message.ts';

/** A change of a payload's schema that keeps one of two schemas from reading the other's payloads. */
export type PayloadDelta = {
  readonly field: string;
  readonly what: string;
  readonly backward: boolean;
  readonly forward: boolean;
};

/**
 * What of a change does not fit, by the rules of the format itself: Avro's schema resolution in both directions; buf's breaking rules of the
 * category WIRE_JSON, which know no direction. Undefined when the two are not of one format.
 */
export function payloadDeltas(
  before: definitions.PayloadSchema | undefined,
  after: definitions.PayloadSchema | undefined,
): PayloadDelta[] | undefined {
  const [was, now] = [before?.format, after?.format];
  try {
    if (was?.$case === 'avro' && now?.$case === 'avro') return avroDeltas(was.value.schemaJson, now.value.schemaJson);
    if (was?.$case === 'protobuf' && now?.$case === 'protobuf')
      return breakingChanges(parseMessage(was.value), parseMessage(now.value)).map(({ rule, path, what }) => ({
        field: path === '' ? 'payload' : fieldName(path),
        what: `${what} (${rule})`,
        backward: false,
        forward: false,
      }));
  } catch (cause) {
    if (!(cause instanceof SchemaError)) throw cause;
    return [{ field: 'payload', what: cause.message, backward: false, forward: false }];
  }
  if (was === undefined) return undefined;
  const what = `payload: ${was.$case} -> ${now?.$case ?? 'JSON alone'}`;
  return now === undefined || now.$case !== was.$case
    ? [{ field: 'payload', what, backward: false, forward: true }]
    : undefined;
}

function avroDeltas(was: string, now: string): PayloadDelta[] {
  const [before, after] = [parseAvro(was), parseAvro(now)];
  const backward = misfits(after, before);
  const forward = misfits(before, after);
  const paths = new Set([...backward, ...forward].map(({ path }) => path));
  return [...paths].map((path) => {
    const [back, forth] = [whyOf(backward, path), whyOf(forward, path)];
    const parts = [
      ...(back === '' ? [] : [`the new schema does not read the old one: ${back}`]),
      ...(forth === '' ? [] : [`the old schema does not read the new one: ${forth}`]),
    ];
    return {
      field: path === '' ? 'payload' : fieldName(path),
      what: parts.join('; '),
      backward: back === '',
      forward: forth === '',
    };
  });
}

function whyOf(all: readonly Misfit[], path: string): string {
  return all
    .filter((misfit) => misfit.path === path)
    .map(({ why }) => why)
    .join(', ');
}
