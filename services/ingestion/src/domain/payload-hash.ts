/**
 * A 64-bit hash of what an event says (its time and its non-null fields by name), as two 32-bit lanes. It does not depend on
 * the order of the JSON's keys, its spacing, or nullable fields that the schema gains later. Not for security.
 */
export class PayloadHash {
  lo = 0;
  hi = 0;

  start(eventTimeUs: number): void {
    this.lo = 0x811c9dc5;
    this.hi = 0x9e3779b9;
    this.number(0x2545f491, eventTimeUs);
  }

  number(seed: number, value: number): void {
    scratch[0] = value;
    this.#mix(seed, words[0] as number, words[1] as number);
  }

  text(seed: number, value: string): void {
    let a = seed;
    let b = ~seed;
    for (let i = 0; i < value.length; i++) {
      const unit = value.charCodeAt(i);
      a = Math.imul(a ^ unit, 0x01000193);
      b = Math.imul(b ^ unit, 0x85ebca6b);
      b = (b << 13) | (b >>> 19);
    }
    this.#mix(seed ^ value.length, a, b);
  }

  /** Fields are mixed with their own seed and added, so their order does not count. */
  #mix(seed: number, a: number, b: number): void {
    this.lo = (this.lo + avalanche(seed ^ Math.imul(a, 0xcc9e2d51) ^ ((b << 15) | (b >>> 17)))) >>> 0;
    this.hi = (this.hi + avalanche(~seed ^ Math.imul(b, 0x1b873593) ^ ((a << 13) | (a >>> 19)))) >>> 0;
  }
}

const scratch = new Float64Array(1);
const words = new Uint32Array(scratch.buffer);

function avalanche(mixed: number): number {
  let h = mixed;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
