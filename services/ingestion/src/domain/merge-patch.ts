import type { PayloadCodec } from '@millrace/payloads';
import { isCloudEvent } from './cloud-event.ts';
import { envelopeOf, isDebezium } from './debezium.ts';
import { openPayload } from './open-payload.ts';
import { isObject, type JsonObject, parseJsonObject } from './parse-json.ts';
import { Problem } from './problem.ts';
import type { RawEvent } from './raw-event.ts';

/** RFC 7396: members of the patch replace those of the target, objects are merged, null removes. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else merged.set(name, mergePatch(merged.get(name), value));
  }
  return Object.fromEntries(merged);
}

/**
 * The event with its fields patched. JSON stays what it is: those of a CloudEvent lie in its data, those of Debezium in `after`. Any other encoding becomes JSON. Of what
 * cannot be read the patch alone is left.
 */
export function patched(event: RawEvent, patch: JsonObject, codec: PayloadCodec | undefined): RawEvent {
  const cloudEvent = cloudEventOf(event);
  if (cloudEvent !== undefined && isObject(cloudEvent.data))
    return { ...event, payload: toBytes({ ...cloudEvent, data: mergePatch(cloudEvent.data, patch) }) };
  const change = debeziumOf(event);
  if (change !== undefined) return { ...event, payload: toBytes(withRow(change, patch)) };
  const opened = openPayload(event, codec);
  if (!(opened instanceof Problem)) {
    const { id, eventTimeUs, fields } = opened;
    return { ...event, id, eventTimeUs, form: 'fields', payload: toBytes(mergePatch(fields, patch)) };
  }
  const broken = cloudEvent === undefined ? mergePatch({}, patch) : { ...cloudEvent, data: mergePatch({}, patch) };
  return { ...event, form: cloudEvent === undefined ? 'fields' : 'open', payload: toBytes(broken) };
}

function cloudEventOf({ form, payload }: RawEvent): JsonObject | undefined {
  if (form !== 'open') return undefined;
  const object = parseJsonObject(payload);
  return object instanceof Problem || !isCloudEvent(object) ? undefined : object;
}

function debeziumOf({ form, payload }: RawEvent): JsonObject | undefined {
  if (form !== 'open') return undefined;
  const object = parseJsonObject(payload);
  return object instanceof Problem || !isDebezium(object) ? undefined : object;
}

function withRow(change: JsonObject, patch: JsonObject): JsonObject {
  const envelope = envelopeOf(change) as JsonObject;
  const fixed = { ...envelope, after: mergePatch(envelope.after, patch) };
  return envelope === change ? fixed : { ...change, payload: fixed };
}

function toBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** The fields of an event as they were sent; undefined when its payload cannot be read. */
export function fieldsSent(event: RawEvent, codec: PayloadCodec | undefined): JsonObject | undefined {
  const change = debeziumOf(event);
  if (change !== undefined) {
    const { after } = envelopeOf(change) as JsonObject;
    return isObject(after) ? after : undefined;
  }
  const opened = openPayload(event, codec);
  if (!(opened instanceof Problem)) return opened.fields;
  const data = cloudEventOf(event)?.data;
  return isObject(data) ? data : undefined;
}
