import { SchemaError, Unreadable } from '../bad-payload.ts';
import { Cursor } from '../cursor.ts';
import { eachElement, lengthOf } from './skip.ts';

/** What an object container file says before its blocks. */
export type AvroHeader = {
  readonly schemaJson: string;
  readonly codec: string;
  /** The 16 bytes after each block. */
  readonly sync: Buffer;
  readonly bytes: number;
};

export type AvroBlockHead = { readonly rows: number; readonly bytes: number; readonly headBytes: number };

const magic = Buffer.from('Obj\x01', 'latin1');
export const avroSyncBytes = 16;

/** `start`: the file's first bytes, as many as a header may have. Throws SchemaError that says why it is none. */
export function readAvroHeader(start: Uint8Array): AvroHeader {
  const cursor = new Cursor(start);
  if (!cursor.bytes.subarray(0, magic.length).equals(magic))
    throw new SchemaError('it does not begin with "Obj" and 1');
  cursor.pos = magic.length;
  const meta = new Map<string, string>();
  try {
    eachElement(cursor, () => {
      const key = cursor.text(lengthOf(cursor));
      const from = cursor.take(lengthOf(cursor));
      meta.set(key, cursor.bytes.toString('utf8', from, cursor.pos));
    });
    const from = cursor.take(avroSyncBytes);
    const schemaJson = meta.get('avro.schema');
    if (schemaJson === undefined) throw new SchemaError('its header has no schema');
    const codec = meta.get('avro.codec') ?? 'null';
    return { schemaJson, codec, sync: Buffer.from(cursor.bytes.subarray(from, cursor.pos)), bytes: cursor.pos };
  } catch (cause) {
    if (!(cause instanceof Unreadable)) throw cause;
    throw new SchemaError(`its header is cut, or longer than the limit of ${start.length} bytes`);
  }
}

/** The two numbers before a block's bytes; undefined where they are none. */
export function readAvroBlockHead(start: Uint8Array): AvroBlockHead | undefined {
  const cursor = new Cursor(start);
  try {
    const rows = Number(cursor.zigzag());
    const bytes = Number(cursor.zigzag());
    return rows < 0 || bytes < 0 ? undefined : { rows, bytes, headBytes: cursor.pos };
  } catch (cause) {
    if (cause instanceof Unreadable) return undefined;
    throw cause;
  }
}
