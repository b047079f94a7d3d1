import { quote } from '@millrace/kernel';
import { operationProblem } from '@millrace/sources';
import { isObject, type JsonObject } from './parse-json.ts';
import { Problem, problem } from './problem.ts';
import { formatUs, parseRfc3339Us } from './timestamps.ts';

export type Envelope = {
  readonly id: string;
  readonly eventTimeUs: number;
  readonly fields: JsonObject;
  /** The extension attribute `millraceoperation` is `delete`: there are no fields. */
  readonly isDelete: boolean;
};

/** CloudEvents 1.0 in structured mode is told by its required `specversion`. */
export function isCloudEvent(object: JsonObject): boolean {
  return typeof object.specversion === 'string' && 'type' in object;
}

/**
 * The envelope of a CloudEvent. CloudEvents are unique by `source` and `id` together, so the event id is both. `time` is the
 * event time. `data` (or `data_base64`, in the encoding of `datacontenttype`) holds the fields; extension attributes but `millraceoperation` are
 * ignored.
 */
export function unwrapCloudEvent(
  object: JsonObject,
  decode: (data: Buffer) => JsonObject | Problem,
): Envelope | Problem {
  const { specversion, id, source, time, data, data_base64: base64 } = object;
  if (specversion !== '1.0') {
    return problem(
      'MALFORMED_PAYLOAD',
      'specversion',
      `CloudEvents ${quote(specversion)} is not supported; send "1.0"`,
    );
  }
  if (typeof id !== 'string' || id === '' || typeof source !== 'string' || source === '') {
    return problem('MISSING_EVENT_ID', 'id', 'the CloudEvent has no id or no source; both are required');
  }
  const eventTimeUs = time === undefined ? 0 : typeof time === 'string' ? parseRfc3339Us(time) : Number.NaN;
  if (Number.isNaN(eventTimeUs)) {
    const example = formatUs(0);
    return problem(
      'WRONG_TYPE',
      'time',
      `the CloudEvent's time ${quote(time)} is not RFC 3339; write it like "${example}"`,
    );
  }
  const { millraceoperation: operation } = object;
  const wrong = operationProblem(operation === undefined ? undefined : String(operation));
  if (wrong !== undefined) return problem('INVALID_ARGUMENT', 'millraceoperation', wrong);
  if (operation === 'delete') return { id: `${source}#${id}`, eventTimeUs, fields: {}, isDelete: true };
  const fields = typeof base64 === 'string' ? decode(Buffer.from(base64, 'base64')) : data;
  if (fields instanceof Problem) return fields;
  if (!isObject(fields)) {
    return problem('MALFORMED_PAYLOAD', 'data', `the CloudEvent's data ${quote(data)} is not a JSON object of fields`);
  }
  return { id: `${source}#${id}`, eventTimeUs, fields, isDelete: false };
}
