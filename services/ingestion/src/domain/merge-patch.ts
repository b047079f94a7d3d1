import { isCloudEvent } from './cloud-event.ts';
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

/** The event with its fields patched: those of a CloudEvent lie in its data. What is no JSON object becomes the patch alone. */
export function patched(event: RawEvent, patch: JsonObject): RawEvent {
  const parsed = parseJsonObject(event.payload);
  const object = parsed instanceof Problem ? {} : parsed;
  const wrapped = event.form === 'open' && isCloudEvent(object);
  const fixed = wrapped ? { ...object, data: mergePatch(object.data, patch) } : mergePatch(object, patch);
  return { ...event, payload: Buffer.from(JSON.stringify(fixed)) };
}

/** The fields of an event as they were sent; undefined when its payload cannot be read. */
export function fieldsSent(event: RawEvent): JsonObject | undefined {
  const parsed = parseJsonObject(event.payload);
  if (parsed instanceof Problem) return undefined;
  const data = event.form === 'open' && isCloudEvent(parsed) ? parsed.data : parsed;
  return isObject(data) ? data : undefined;
}
