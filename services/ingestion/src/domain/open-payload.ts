import type { PayloadCodec } from '@millrace/payloads';
import { BadPayload } from '@millrace/payloads';
import { isCloudEvent, unwrapCloudEvent } from './cloud-event.ts';
import { type JsonObject, parseJsonObject } from './parse-json.ts';
import { Problem, problem } from './problem.ts';
import type { RawEvent } from './raw-event.ts';

/** An event out of its encoding: `id` and `eventTimeUs` are its envelope's. */
export type Opened = {
  readonly id: string;
  readonly eventTimeUs: number;
  readonly fields: JsonObject;
  /** The envelope says that the event with the id is deleted; there are no fields. */
  readonly isDelete: boolean;
};

const curlyBracket = 0x7b;

/** The fields of an event, whatever it is encoded in, as JSON has them; or why they cannot be read. */
export function openPayload(event: RawEvent, codec: PayloadCodec | undefined): Opened | Problem {
  const { form } = event;
  if (form === 'avro' || form === 'protobuf') {
    if (codec?.format !== form) return notOfSource(form, codec);
    return opened(event, decode(event, codec));
  }
  // without a word about its encoding a payload is of the source's own, unless it is JSON
  if (form === 'open' && codec !== undefined && !looksLikeJson(event.payload))
    return opened(event, decode(event, codec));
  const object = parseJsonObject(event.payload);
  if (object instanceof Problem)
    return form === 'open' && codec !== undefined ? opened(event, decode(event, codec)) : object;
  if (form !== 'open' || !isCloudEvent(object)) return opened(event, object);
  const envelope = unwrapCloudEvent(object, (data) => decodeData(data, object.datacontenttype, codec));
  return envelope instanceof Problem
    ? envelope
    : { ...envelope, eventTimeUs: envelope.eventTimeUs || event.eventTimeUs };
}

/** Media types of payloads; parameters do not count. */
export function formOfMediaType(mediaType: string): 'fields' | 'avro' | 'protobuf' | undefined {
  const bare = mediaType.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (/^(application\/)?(vnd\.apache\.|x-)?avro([+/](binary|avro))?$/.test(bare)) return 'avro';
  if (/^application\/(vnd\.google\.|x-)?protobuf$/.test(bare)) return 'protobuf';
  return bare === 'application/json' ? 'fields' : undefined;
}

function opened({ id, eventTimeUs }: RawEvent, fields: JsonObject | Problem): Opened | Problem {
  return fields instanceof Problem ? fields : { id, eventTimeUs, fields, isDelete: false };
}

function decode(
  { payload, writer = '' }: Pick<RawEvent, 'payload' | 'writer'>,
  codec: PayloadCodec,
): JsonObject | Problem {
  const fields = codec.decode(payload, writer);
  return fields instanceof BadPayload ? problem(fields.reason, fields.field, fields.message) : fields;
}

function decodeData(data: Buffer, mediaType: unknown, codec: PayloadCodec | undefined): JsonObject | Problem {
  const form = typeof mediaType === 'string' ? formOfMediaType(mediaType) : 'fields';
  if (form !== 'avro' && form !== 'protobuf') return parseJsonObject(data);
  return codec?.format === form ? decode({ payload: data }, codec) : notOfSource(form, codec);
}

function looksLikeJson(payload: Uint8Array): boolean {
  const first = payload.find((byte) => byte > 0x20);
  return first === curlyBracket;
}

function notOfSource(form: 'avro' | 'protobuf', codec: PayloadCodec | undefined): Problem {
  const takes = codec === undefined ? 'JSON alone' : `JSON and ${codec.format}`;
  return problem(
    'MALFORMED_PAYLOAD',
    '',
    `the payload is ${form} and the source takes ${takes}; send that, or give the source a payload with the ${form} schema`,
  );
}
