import { addCount, type SortedCounts } from './sorted-counts.ts';

/** Beyond so many buckets between the least and the largest a sorted list costs less than a dense array. */
const spanMax = 8_192;

/**
 * Counts by whole numbered key as dense arrays, one for each sign: to add costs what is added, whatever is there already. Scratch for those
 * who put many together and ask often; what is kept is a list (sorted-counts.ts).
 */
export class RunningCounts {
  readonly #below = new DenseCounts();
  readonly #above = new DenseCounts();
  #zeros = 0;
  /** In place of the arrays once their keys are too far apart. */
  #sorted: SortedCounts | undefined;

  clear(): void {
    this.#below.clear();
    this.#above.clear();
    this.#zeros = 0;
    this.#sorted = undefined;
  }

  add(key: number, count: number): void {
    if (this.#sorted) addCount(this.#sorted, key, count);
    else if (key === 0) this.#zeros += count;
    else if (!(key > 0 ? this.#above : this.#below).add(Math.abs(key), count)) {
      this.#sorted = [];
      this.#each((known, n) => this.#sorted?.push(known, n));
      addCount(this.#sorted, key, count);
    }
  }

  addAll(counts: SortedCounts): void {
    if (this.#sorted === undefined && (counts[0] as number) > 0 && this.#above.addAll(counts)) return;
    for (let i = 0; i < counts.length; i += 2) this.add(counts[i] as number, counts[i + 1] as number);
  }

  /** The key at place `rank`, from 0, when everything counted is laid out ascending. */
  keyAt(rank: number): number {
    if (this.#sorted) return keyInSorted(this.#sorted, rank);
    const below = this.#below.total;
    // the largest magnitude comes first among those below zero
    if (rank < below) return -this.#below.keyAt(below - 1 - rank);
    if (rank < below + this.#zeros) return 0;
    return this.#above.keyAt(rank - below - this.#zeros);
  }

  #each(take: (key: number, count: number) => void): void {
    this.#below.each((key, count) => take(-key, count), true);
    if (this.#zeros > 0) take(0, this.#zeros);
    this.#above.each(take, false);
  }
}

export function keyInSorted(counts: SortedCounts, rank: number): number {
  let i = 0;
  for (let seen = counts[1] as number; seen <= rank; seen += counts[i + 1] as number) i += 2;
  return counts[i] as number;
}

/** Counts of keys above 0 that lie within `spanMax` of each other. */
class DenseCounts {
  /** The count of key k is at k − base. */
  #counts = new Float64Array(1_024);
  #base = 0;
  #low = 0;
  #high = -1;
  total = 0;

  clear(): void {
    if (this.#high >= this.#low) this.#counts.fill(0, this.#low, this.#high + 1);
    this.#low = 0;
    this.#high = -1;
    this.total = 0;
  }

  /** False when the key is too far from those there. */
  add(key: number, count: number): boolean {
    if (this.#high < this.#low) {
      this.#base = key - (this.#counts.length >> 1);
      this.#low = key - this.#base;
      this.#high = this.#low;
    }
    let at = key - this.#base;
    if (at < this.#low || at > this.#high) {
      const low = Math.min(this.#low, at);
      const high = Math.max(this.#high, at);
      if (high - low >= spanMax) return false;
      if (low < 0 || high >= this.#counts.length) {
        this.#move(low, high);
        at = key - this.#base;
      } else {
        this.#low = low;
        this.#high = high;
      }
    }
    this.#counts[at] = (this.#counts[at] as number) + count;
    this.total += count;
    return true;
  }

  /** Of keys above 0. False, and nothing is added, when a key is too far from those there. */
  addAll(counts: SortedCounts): boolean {
    // with nothing added the first and the last key make room for all
    if (!this.add(counts[0] as number, 0) || !this.add(counts[counts.length - 2] as number, 0)) return false;
    const held = this.#counts;
    const base = this.#base;
    let total = this.total;
    for (let i = 0; i < counts.length; i += 2) {
      const at = (counts[i] as number) - base;
      const count = counts[i + 1] as number;
      held[at] = (held[at] as number) + count;
      total += count;
    }
    this.total = total;
    return true;
  }

  /** Makes room for what lies between two places, in the middle. */
  #move(low: number, high: number): void {
    const length = Math.max(this.#counts.length, 2 ** Math.ceil(Math.log2(2 * (high - low + 1))));
    const shift = ((length - (high - low + 1)) >> 1) - low;
    const moved = new Float64Array(length);
    moved.set(this.#counts.subarray(this.#low, this.#high + 1), this.#low + shift);
    this.#counts = moved;
    this.#base -= shift;
    this.#low = low + shift;
    this.#high = high + shift;
  }

  /** From the end that is nearer. */
  keyAt(rank: number): number {
    const counts = this.#counts;
    if (2 * rank < this.total) {
      let at = this.#low;
      for (let seen = counts[at] as number; seen <= rank; seen += counts[at] as number) at++;
      return at + this.#base;
    }
    let at = this.#high;
    for (let left = this.total - (counts[at] as number); left > rank; left -= counts[at] as number) at--;
    return at + this.#base;
  }

  each(take: (key: number, count: number) => void, descending: boolean): void {
    for (let i = this.#low; i <= this.#high; i++) {
      const at = descending ? this.#high + this.#low - i : i;
      const count = this.#counts[at] as number;
      if (count > 0) take(at + this.#base, count);
    }
  }
}
