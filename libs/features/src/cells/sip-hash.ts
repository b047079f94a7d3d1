/**
 * SipHash-2-4 with a key of zeros (Aumasson and Bernstein, 2012), which is ClickHouse's `sipHash64`, in halves of 32 bits; of its 64 bits the
 * upper 53, which a double holds: `bitShiftRight(sipHash64(x), 11)`.
 */
export function sipHash53(bytes: Uint8Array, length: number): number {
  v[0] = 0x70736575;
  v[1] = 0x736f6d65;
  v[2] = 0x6e646f6d;
  v[3] = 0x646f7261;
  v[4] = 0x6e657261;
  v[5] = 0x6c796765;
  v[6] = 0x79746573;
  v[7] = 0x74656462;
  let at = 0;
  for (; at + 8 <= length; at += 8) compress(word(bytes, at, 4), word(bytes, at + 4, 4));
  const low = word(bytes, at, Math.min(4, length - at));
  const high = word(bytes, at + 4, Math.max(0, length - at - 4));
  compress(low, high | ((length & 0xff) << 24));
  v[4] = (v[4] as number) ^ 0xff;
  round();
  round();
  round();
  round();
  const hashLow = ((v[0] as number) ^ (v[2] as number) ^ (v[4] as number) ^ (v[6] as number)) >>> 0;
  const hashHigh = ((v[1] as number) ^ (v[3] as number) ^ (v[5] as number) ^ (v[7] as number)) >>> 0;
  return hashHigh * 2 ** 21 + (hashLow >>> 11);
}

/** Four words of 64 bits, the low half of each first. */
const v = new Int32Array(8);

function word(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i++) value |= (bytes[at + i] as number) << (8 * i);
  return value;
}

function compress(low: number, high: number): void {
  v[6] = (v[6] as number) ^ low;
  v[7] = (v[7] as number) ^ high;
  round();
  round();
  v[0] = (v[0] as number) ^ low;
  v[1] = (v[1] as number) ^ high;
}

function round(): void {
  add(0, 2);
  rotate(2, 13);
  mix(2, 0);
  swap(0);
  add(4, 6);
  rotate(6, 16);
  mix(6, 4);
  add(0, 6);
  rotate(6, 21);
  mix(6, 0);
  add(4, 2);
  rotate(2, 17);
  mix(2, 4);
  swap(4);
}

function add(to: number, from: number): void {
  const low = ((v[to] as number) >>> 0) + ((v[from] as number) >>> 0);
  v[to] = low;
  v[to + 1] = (v[to + 1] as number) + (v[from + 1] as number) + (low > 0xffffffff ? 1 : 0);
}

/** To the left, by less than 32. */
function rotate(at: number, bits: number): void {
  const low = v[at] as number;
  const high = v[at + 1] as number;
  v[at] = (low << bits) | (high >>> (32 - bits));
  v[at + 1] = (high << bits) | (low >>> (32 - bits));
}

function mix(to: number, from: number): void {
  v[to] = (v[to] as number) ^ (v[from] as number);
  v[to + 1] = (v[to + 1] as number) ^ (v[from + 1] as number);
}

/** By 32 bits. */
function swap(at: number): void {
  const low = v[at] as number;
  v[at] = v[at + 1] as number;
  v[at + 1] = low;
}
