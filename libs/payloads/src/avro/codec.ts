import type { definitions } from '@millrace/contracts';
import { Unreadable } from '../bad-payload.ts';
import type { Cursor } from '../cursor.ts';
import type { PayloadField } from '../payload-field.ts';
import { avroDecoder } from './decoder.ts';
import { fingerprintHex } from './fingerprint.ts';
import { parseAvro } from './schema.ts';

type Fields = Record<string, unknown>;
type Decode = (cursor: Cursor) => Fields;

/** A version of a source and what it says of Avro. */
export type AvroWriter = { readonly version: string; readonly schema: definitions.AvroSchema };

/**
 * Reads payloads of the current schema and of earlier ones. A payload says what wrote it by single-object encoding (C3 01 and the schema's
 * fingerprint), by Confluent's wire format where the current schema has an id (00 and the id), or beside itself by a version of the source.
 */
export function avroCodec(
  current: AvroWriter,
  earlier: readonly AvroWriter[],
  wanted: ReadonlyMap<string, PayloadField>,
) {
  const reader = parseAvro(current.schema.schemaJson);
  const byVersion = new Map<string, Decode>();
  const byFingerprint = new Map<string, Decode>();
  const byId = new Map<number, Decode>();
  // the current one last, so that it wins
  for (const { version, schema } of [...earlier, current]) {
    const writer = parseAvro(schema.schemaJson);
    const decode = avroDecoder(reader, writer, wanted);
    byVersion.set(version, decode);
    byFingerprint.set(Buffer.from(fingerprintHex(writer), 'hex').toString('latin1'), decode);
    if (schema.confluentId !== 0) byId.set(schema.confluentId, decode);
  }
  const own = byVersion.get(current.version) as Decode;
  const confluent = current.schema.confluentId !== 0;

  /** `version` is of the source; empty: the current one. */
  return (cursor: Cursor, version: string): Fields => {
    const { bytes } = cursor;
    const isMarked = bytes.length >= 10 && bytes[0] === 0xc3 && bytes[1] === 0x01;
    const marked = isMarked ? byFingerprint.get(bytes.toString('latin1', 2, 10)) : undefined;
    if (marked !== undefined) {
      cursor.pos = 10;
      return marked(cursor);
    }
    if (version !== '') return named(byVersion, version)(cursor);
    if (confluent) return ofId(cursor)(cursor);
    try {
      return ended(cursor, own(cursor));
    } catch (cause) {
      if (!isMarked) throw cause;
      const fingerprint = bytes.subarray(2, 10).toString('hex');
      throw new Unreadable(
        'MALFORMED_PAYLOAD',
        '',
        `the payload is in Avro's single-object encoding with the fingerprint ${fingerprint}, which no version of the source has; apply the schema that wrote it first`,
      );
    }
  };

  function ofId(cursor: Cursor): Decode {
    const id = cursor.bytes.length < 5 || cursor.bytes[0] !== 0 ? undefined : cursor.bytes.readUInt32BE(1);
    if (id === undefined)
      throw new Unreadable(
        'MALFORMED_PAYLOAD',
        '',
        "the payload does not begin with a zero byte and a schema id, Confluent's wire format, as the source's schema has an id; send it so, or in single-object encoding",
      );
    const decode = byId.get(id);
    cursor.pos = 5;
    if (decode !== undefined) return decode;
    const known = [...byId.keys()].join(', ');
    throw new Unreadable(
      'MALFORMED_PAYLOAD',
      '',
      `the payload is of schema id ${id}, which no version of the source has (known: ${known})`,
    );
  }
}

function named(byVersion: ReadonlyMap<string, Decode>, version: string): Decode {
  const decode = byVersion.get(version);
  if (decode !== undefined) return decode;
  const known = [...byVersion.keys()].slice(-10).join(', ');
  throw new Unreadable(
    'MALFORMED_PAYLOAD',
    '',
    `the payload is said to be of version "${version}" of the source, which has no such one with an Avro schema (known: ${known})`,
  );
}

function ended(cursor: Cursor, fields: Fields): Fields {
  if (cursor.pos === cursor.end) return fields;
  throw trailing(cursor);
}

export function trailing(cursor: Cursor): Unreadable {
  cursor.field = '';
  return cursor.malformed(
    `has ${cursor.end - cursor.pos} bytes after its last field; it is of another schema, or two payloads in one`,
  );
}
