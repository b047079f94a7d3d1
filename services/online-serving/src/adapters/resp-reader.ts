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
const MINUS = 45;
const ZERO = 48;

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
      const kind = bytes[at];
      if (kind !== DOLLAR && kind !== STAR) {
        const lineEnd = bytes.indexOf(CR, at);
        if (lineEnd < 0 || lineEnd + 1 >= bytes.length) return at;
        sink.line(bytes.toString('latin1', at, lineEnd));
        at = lineEnd + 2;
        continue;
      }
      // `<kind><number>\r\n`: looked at byte by byte, for it is short
      let number = 0;
      let digit = at + 1;
      for (; digit < bytes.length; digit++) {
        const byte = bytes[digit] as number;
        if (byte === CR) break;
        number = number * 10 + (byte - ZERO);
      }
      const start = digit + 2;
      if (start > bytes.length) return at;
      if (kind === DOLLAR) {
        const isNull = bytes[at + 1] === MINUS;
        if (!isNull && start + number + 2 > bytes.length) return at;
        values.push(isNull ? null : new DataView(bytes.buffer, bytes.byteOffset + start, number));
        at = isNull ? start : start + number + 2;
        if (--remaining === 0) sink.row(values);
        continue;
      }
      remaining = bytes[at + 1] === MINUS ? -1 : number;
      values = [];
      if (remaining <= 0) sink.row(values);
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
  if (bytes[start] === MINUS) return -1;
  for (let at = start; at < end; at++) value = value * 10 + ((bytes[at] as number) - ZERO);
  return value;
}
