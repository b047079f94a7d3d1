import { staticTable } from './hpack-tables.ts';

/**
 * A header block of literals that touches no table: it means the same on every connection, so blocks are made once and copied. Values are
 * ASCII.
 */
export function encodeBlock(fields: readonly (readonly [name: string, value: string])[]): Buffer {
  const out: number[] = [];
  for (const [name, value] of fields) {
    const exact = staticIndex(name, value);
    if (exact > 0) {
      integer(out, 0x80, 7, exact);
      continue;
    }
    const named = staticIndex(name);
    integer(out, 0, 4, named);
    if (named === 0) text(out, name);
    text(out, value);
  }
  return Buffer.from(out);
}

function staticIndex(name: string, value?: string): number {
  for (let i = 0; i < staticTable.length; i += 2)
    if (staticTable[i] === name && (value === undefined || staticTable[i + 1] === value)) return i / 2 + 1;
  return 0;
}

function text(out: number[], value: string): void {
  integer(out, 0, 7, value.length);
  for (let i = 0; i < value.length; i++) out.push(value.charCodeAt(i) & 0xff);
}

function integer(out: number[], pattern: number, prefixBits: number, value: number): void {
  const max = (1 << prefixBits) - 1;
  if (value < max) {
    out.push(pattern | value);
    return;
  }
  out.push(pattern | max);
  let rest = value - max;
  for (; rest >= 0x80; rest >>>= 7) out.push((rest & 0x7f) | 0x80);
  out.push(rest);
}
