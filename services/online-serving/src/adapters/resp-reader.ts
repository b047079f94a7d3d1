import type { StoredRow } from '../domain/evaluate.ts';

/** What becomes of the replies, in their order. */
export type ReplySink = {
  /** The reply to an HMGET: a view of the bytes or null for each field. The bytes lie in what came in, good until this returns. */
  row(values: StoredRow[]): void;
  /** A reply of another kind: `OK`, or an error's text with its leading `-`. */
  line(text: string): void;
};

const CR = 13;
const LF = 10;
const STAR = 42;
const DOLLAR = 36;

/**
 * Reads RESP2 replies to HMGET as they come in, without copying values and without a promise or object per command. Of a chunk, whose
 * memory is used again, it keeps copies: of the values of a reply that was cut off, and of the element that was.
 */
export function createRespReader(sink: ReplySink): (chunk: Buffer) => void {
  let rest: Buffer | null = null;
  let values: StoredRow[] = [];
  let remaining = 0;

  /** Reads every whole element and returns how many bytes that was. */
  function parse(bytes: Buffer): number {
    let at = 0;
    for (;;) {
      const lineEnd = bytes.indexOf(CR, at);
      if (lineEnd < 0 || lineEnd + 1 >= bytes.length) return at;
      const kind = bytes[at];
      const start = lineEnd + 2;
      if (kind === DOLLAR) {
        const length = integer(bytes, at + 1, lineEnd);
        if (length >= 0 && start + length + 2 > bytes.length) return at;
        values.push(length < 0 ? null : new DataView(bytes.buffer, bytes.byteOffset + start, length));
        at = length < 0 ? start : start + length + 2;
        if (--remaining === 0) sink.row(values);
        continue;
      }
      if (kind === STAR) {
        remaining = integer(bytes, at + 1, lineEnd);
        values = [];
        if (remaining <= 0) sink.row(values);
      } else sink.line(bytes.toString('latin1', at, lineEnd));
      at = start;
    }
  }

  return (received) => {
    let chunk = received;
    // only the element that was cut off is copied, not the chunk that completes it: chunks are 64 KiB and elements a few hundred bytes
    while (rest !== null && chunk.length > 0) {
      const taken = Math.min(missing(rest, chunk), chunk.length);
      const element: Buffer = Buffer.concat([rest, chunk.subarray(0, taken)]);
      chunk = chunk.subarray(taken);
      const consumed = parse(element);
      rest = consumed === element.length ? null : element.subarray(consumed);
    }
    if (chunk.length > 0) {
      const consumed = parse(chunk);
      rest = consumed === chunk.length ? null : chunk.subarray(consumed);
    }
    if (rest !== null) rest = Buffer.from(rest);
    if (remaining > 0) values = values.map((value) => (value ? copyOf(value) : value));
  };
}

/** How many bytes of `next` complete the element that starts `rest`: to its known end, else to the end of its line. */
function missing(rest: Buffer, next: Buffer): number {
  const lineEnd = rest.indexOf(CR);
  if (lineEnd >= 0 && lineEnd + 1 < rest.length && rest[0] === DOLLAR) {
    return lineEnd + 2 + integer(rest, 1, lineEnd) + 2 - rest.length;
  }
  const newline = next.indexOf(LF);
  return newline < 0 ? next.length : newline + 1;
}

function copyOf({ buffer, byteOffset, byteLength }: DataView): DataView {
  return new DataView(buffer.slice(byteOffset, byteOffset + byteLength));
}

function integer(bytes: Buffer, start: number, end: number): number {
  let value = 0;
  if (bytes[start] === 45) return -1;
  for (let at = start; at < end; at++) value = value * 10 + ((bytes[at] as number) - 48);
  return value;
}
