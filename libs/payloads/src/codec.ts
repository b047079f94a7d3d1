import { definitions } from '@millrace/contracts';
import { avroCodec, trailing } from './avro/codec.ts';
import { type BadPayload, Unreadable } from './bad-payload.ts';
import { Cursor } from './cursor.ts';
import { payloadFields } from './describe.ts';
import type { PayloadField } from './payload-field.ts';
import { passConfluent } from './protobuf/confluent.ts';
import { protobufDecoder } from './protobuf/decoder.ts';
import { parseMessage } from './protobuf/message.ts';

/** A version of a source. */
export type SourceVersion = { readonly version: string; readonly spec: definitions.Source };

export type PayloadCodec = {
  readonly format: 'avro' | 'protobuf';
  /** The fields as JSON would have them; `version` is of the source whose schema wrote the payload, empty: the current one. */
  decode(payload: Uint8Array, version: string): Readonly<Record<string, unknown>> | BadPayload;
};

/** How a source's payloads are read; undefined for JSON alone. `earlier`: the source's versions before, newest first. */
export function compilePayload(source: SourceVersion, earlier: readonly SourceVersion[]): PayloadCodec | undefined {
  const format = source.spec.payload?.format;
  if (format === undefined) return undefined;
  const wanted = wantedFields(source.spec);
  if (format.$case === 'avro') {
    const writers = earlier.toReversed().flatMap(({ version, spec }) => {
      const schema = spec.payload?.format;
      return schema?.$case === 'avro' ? [{ version, schema: schema.value }] : [];
    });
    const decode = avroCodec({ version: source.version, schema: format.value }, writers, wanted);
    return codec('avro', (cursor, version) => decode(cursor, version));
  }
  const { message } = parseMessage(format.value);
  const rejectUnknown = source.spec.extraFields !== definitions.ExtraFields.IGNORE;
  const decode = protobufDecoder(message, wanted, rejectUnknown);
  return codec('protobuf', (cursor) => {
    passConfluent(cursor, message);
    return decode(cursor);
  });
}

function wantedFields({ payload, fields }: definitions.Source): Map<string, PayloadField> {
  const own = new Map(fields.map((field) => [field.name, field]));
  const known = payload === undefined ? [] : payloadFields(payload).fields;
  return new Map(known.filter(({ field }) => own.has(field)).map((field) => [field.path, field]));
}

function codec(
  format: PayloadCodec['format'],
  decode: (cursor: Cursor, version: string) => Readonly<Record<string, unknown>>,
): PayloadCodec {
  return {
    format,
    decode(payload, version) {
      const cursor = new Cursor(payload);
      try {
        const fields = decode(cursor, version);
        return cursor.pos === cursor.end ? fields : trailing(cursor).bad;
      } catch (cause) {
        if (cause instanceof Unreadable) return cause.bad;
        throw cause;
      }
    },
  };
}
