/** Grows as it is written to; ClickHouse's RowBinary. */
export class RowBinaryWriter {
  #buffer = Buffer.allocUnsafe(1 << 20);
  #at = 0;

  uint8(value: number): void {
    this.#room(1);
    this.#buffer[this.#at++] = value;
  }

  uint32(value: number): void {
    this.#room(4);
    this.#at = this.#buffer.writeUInt32LE(value, this.#at);
  }

  /** A safe integer as Int64 or UInt64. */
  int64(value: number): void {
    this.#room(8);
    const high = Math.floor(value / 4294967296);
    this.#buffer.writeUInt32LE(value - high * 4294967296, this.#at);
    this.#buffer.writeInt32LE(high, this.#at + 4);
    this.#at += 8;
  }

  bigint64(value: bigint): void {
    this.#room(8);
    this.#at = this.#buffer.writeBigInt64LE(value, this.#at);
  }

  float64(value: number): void {
    this.#room(8);
    this.#at = this.#buffer.writeDoubleLE(value, this.#at);
  }

  /** `count` values from `start` on as Array(Float32). */
  float32s(values: Float32Array, start: number, count: number): void {
    this.length(count);
    this.#room(4 * count);
    this.#buffer.set(new Uint8Array(values.buffer, values.byteOffset + 4 * start, 4 * count), this.#at);
    this.#at += 4 * count;
  }

  string(value: string): void {
    const bytes = Buffer.byteLength(value);
    this.length(bytes);
    this.#room(bytes);
    this.#at += this.#buffer.write(value, this.#at);
  }

  /** The number of an array's elements or a map's pairs, which follow. */
  length(count: number): void {
    this.#room(5);
    let rest = count;
    for (; rest > 0x7f; rest >>>= 7) this.#buffer[this.#at++] = (rest & 0x7f) | 0x80;
    this.#buffer[this.#at++] = rest;
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + bytes));
    this.#buffer.copy(grown, 0, 0, this.#at);
    this.#buffer = grown;
  }
}
