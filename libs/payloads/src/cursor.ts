import { isUtf8 } from 'node:buffer';
import { Unreadable } from './bad-payload.ts';

/** Nested values deeper than this are refused: they are read by recursion. */
export const depthMax = 64;

/** Reads the bytes of one payload; every length is held against what is left before anything is made of it. */
export class Cursor {
  readonly bytes: Buffer;
  readonly #view: DataView;
  pos: number;
  end: number;
  depth = 0;
  /** Elements that took no bytes, so far. */
  emptyElements = 0;
  /** The field that is being read, for messages. */
  field = '';
  /** The two halves of the varint that was read last. */
  lo = 0;
  hi = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.pos = 0;
    this.end = bytes.length;
  }

  /** Base 128, least significant first, at most 64 bits; into `lo` and `hi`. */
  varint(): true {
    const { bytes, end } = this;
    let pos = this.pos;
    let lo = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte(bytes, pos++, end);
      lo |= (byte & 0x7f) << shift;
      if (byte < 0x80) return this.#set(lo >>> 0, 0, pos);
    }
    const middle = this.#byte(bytes, pos++, end);
    lo |= (middle & 0x0f) << 28;
    let hi = (middle & 0x7f) >> 4;
    if (middle < 0x80) return this.#set(lo >>> 0, hi, pos);
    for (let shift = 3; shift <= 31; shift += 7) {
      const byte = this.#byte(bytes, pos++, end);
      if (shift === 31 && byte > 1) break;
      hi |= (byte & 0x7f) << shift;
      if (byte < 0x80) return this.#set(lo >>> 0, hi >>> 0, pos);
    }
    throw this.malformed('has a number of more than 64 bits');
  }

  /** Zigzag, as Avro's int and long and protobuf's sint. */
  zigzag(): number | string {
    if (this.pos < this.end) {
      const byte = this.bytes[this.pos] as number;
      if (byte < 0x80) {
        this.pos++;
        return byte & 1 ? -((byte + 1) >>> 1) : byte >>> 1;
      }
    }
    this.varint();
    const sign = -(this.lo & 1);
    const lo = ((this.lo >>> 1) | (this.hi << 31)) ^ sign;
    return signed(lo >>> 0, (this.hi >>> 1) ^ sign);
  }

  /** A signed 64-bit varint; decimal text beyond 2^53, as events have it. */
  int64(): number | string {
    this.varint();
    return signed(this.lo, this.hi | 0);
  }

  uint64(): number | string {
    this.varint();
    return unsigned(this.lo, this.hi);
  }

  fixed64(): number | string {
    const at = this.take(8);
    return unsigned(this.#view.getUint32(at, true), this.#view.getUint32(at + 4, true));
  }

  sfixed64(): number | string {
    const at = this.take(8);
    return signed(this.#view.getUint32(at, true), this.#view.getInt32(at + 4, true));
  }

  fixed32(): number {
    return this.#view.getUint32(this.take(4), true);
  }

  sfixed32(): number {
    return this.#view.getInt32(this.take(4), true);
  }

  float(): number {
    return this.#view.getFloat32(this.take(4), true);
  }

  double(): number {
    return this.#view.getFloat64(this.take(8), true);
  }

  byte(): number {
    return this.bytes[this.take(1)] as number;
  }

  text(length: number): string {
    const from = this.take(length);
    const text = this.bytes.toString('utf8', from, this.pos);
    // only a bad byte, or a genuine U+FFFD, decodes to U+FFFD: look closer just then
    if (text.includes('\ufffd') && !isUtf8(this.bytes.subarray(from, this.pos)))
      throw this.malformed('is not UTF-8; encode text as UTF-8');
    return text;
  }

  /** Passes over bytes; returns where they began. */
  take(length: number): number {
    const from = this.pos;
    if (length > this.end - from)
      throw this.malformed(
        `wants ${length} more bytes where ${this.end - from} are left; the payload is cut or of another schema`,
      );
    this.pos = from + length;
    return from;
  }

  down(): void {
    if (++this.depth > depthMax) throw this.malformed(`is nested deeper than ${depthMax}`);
  }

  up(): void {
    this.depth--;
  }

  malformed(what: string): Unreadable {
    const subject = this.field === '' ? 'the payload' : `field "${this.field}"`;
    return new Unreadable('MALFORMED_PAYLOAD', this.field, `${subject} ${what}`);
  }

  #byte(bytes: Buffer, pos: number, end: number): number {
    if (pos >= end) throw this.malformed('ends in the middle of a number; the payload is cut or of another schema');
    return bytes[pos] as number;
  }

  #set(lo: number, hi: number, pos: number): true {
    this.lo = lo;
    this.hi = hi;
    this.pos = pos;
    return true;
  }
}

function signed(lo: number, hi: number): number | string {
  const value = hi * 2 ** 32 + lo;
  return Number.isSafeInteger(value) ? value : ((BigInt(hi) << 32n) | BigInt(lo)).toString();
}

function unsigned(lo: number, hi: number): number | string {
  const value = hi * 2 ** 32 + lo;
  return Number.isSafeInteger(value) ? value : ((BigInt(hi) << 32n) | BigInt(lo)).toString();
}
