import type { StoredRow } from '../domain/evaluate.ts';

/** What becomes of the replies, in their order. */
export type ReplySink = {
  /** The reply to an HMGET: bytes or null for each field. The bytes are slices of what came in. */
  row(values: StoredRow[]): void;
  /** A reply of another kind: `OK`, or an error's text with its leading `-`. */
  line(text: string): void;
};

const CR = 13;
const STAR = 42;
const DOLLAR = 36;

/** Reads RESP2 replies to HMGET as they come in, without copying values and without a promise or object per command. */
export function createRespReader(sink: ReplySink): (chunk: Buffer) => void {
  let rest: Buffer | null = null;
  let values: StoredRow[] = [];
  let remaining = 0;

  return (chunk) => {
    const bytes = rest === null ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    for (;;) {
      const lineEnd = bytes.indexOf(CR, at);
      if (lineEnd < 0 || lineEnd + 1 >= bytes.length) break;
      const kind = bytes[at];
      if (kind === DOLLAR) {
        const length = integer(bytes, at + 1, lineEnd);
        const start = lineEnd + 2;
        if (length >= 0 && start + length + 2 > bytes.length) break;
        values.push(length < 0 ? null : bytes.subarray(start, start + length));
        at = length < 0 ? start : start + length + 2;
        if (--remaining === 0) sink.row(values);
        continue;
      }
      if (kind === STAR) {
        remaining = integer(bytes, at + 1, lineEnd);
        values = [];
        if (remaining <= 0) sink.row(values);
      } else sink.line(bytes.toString('latin1', at, lineEnd));
      at = lineEnd + 2;
    }
    rest = at === bytes.length ? null : bytes.subarray(at);
  };
}

function integer(bytes: Buffer, start: number, end: number): number {
  let value = 0;
  if (bytes[start] === 45) return -1;
  for (let at = start; at < end; at++) value = value * 10 + ((bytes[at] as number) - 48);
  return value;
}
