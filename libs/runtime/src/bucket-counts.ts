/** How many values fall below each bound, as a Prometheus histogram has them. Adding one allocates nothing. */
export class BucketCounts {
  readonly bounds: readonly number[];
  /** By bucket; the last is for what is beyond all bounds. */
  readonly #counts: Float64Array;
  #sum = 0;

  /** @param bounds ascending; a value equal to one falls below it */
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  add(value: number): void {
    let bucket = 0;
    while (bucket < this.bounds.length && value > (this.bounds[bucket] as number)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sum += value;
  }

  /** Of all values. */
  get sum(): number {
    return this.#sum;
  }

  /** How many values are at most each bound, and after them how many there are. */
  cumulative(): number[] {
    let total = 0;
    return Array.from(this.#counts, (count) => {
      total += count;
      return total;
    });
  }
}
