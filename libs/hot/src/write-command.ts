import { Command } from 'ioredis';

export interface RowToWrite {
  readonly key: string;
  readonly field: string;
  /**
   * Starts with its format and position: 7 bytes, big-endian (row-layout.ts of libs/features). Empty: the entity has no row any more.
   */
  readonly row: Buffer;
}

/** A command whose bytes are there already, in memory that whoever gives them uses again once it is answered. */
export class EncodedCommand extends Command {
  readonly #bytes: Buffer;

  constructor(name: string, bytes: Buffer) {
    super(name, [], { replyEncoding: 'utf8' });
    this.#bytes = bytes;
  }

  override toWritable(): Buffer {
    return this.#bytes;
  }
}

/** Of `*`, `$`, a length and its line ends. */
const headBytesMax = 24;

/** At least as many bytes as `EVALSHA` of these rows takes. */
export function writeBytesMax(rows: readonly RowToWrite[], sha: string): number {
  let bytes = 4 * headBytesMax + sha.length;
  for (const { key, field, row } of rows) bytes += 3 * (key.length + field.length + headBytesMax) + row.length;
  return bytes;
}

/** `EVALSHA sha count key… field row field row…` of the rows `from` to `to`, in RESP; returns where it ends. */
export function encodeWrite(
  out: Buffer,
  start: number,
  sha: string,
  rows: readonly RowToWrite[],
  from: number,
  to: number,
): number {
  let at = start;
  const text = (value: string) => {
    at += out.write(`$${Buffer.byteLength(value)}\r\n`, at, 'latin1');
    at += out.write(value, at);
    at += out.write('\r\n', at, 'latin1');
  };
  at += out.write(`*${3 + 3 * (to - from)}\r\n$7\r\nEVALSHA\r\n`, at, 'latin1');
  text(sha);
  text(String(to - from));
  for (let i = from; i < to; i++) text((rows[i] as RowToWrite).key);
  for (let i = from; i < to; i++) {
    const { field, row } = rows[i] as RowToWrite;
    text(field);
    at += out.write(`$${row.length}\r\n`, at, 'latin1');
    out.set(row, at);
    at += row.length;
    at += out.write('\r\n', at, 'latin1');
  }
  return at;
}
