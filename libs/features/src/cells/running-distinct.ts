import { estimateOf, exactMax, rankOf, registerOf, registers } from './hyper-log-log.ts';

const tableSize = 2 * exactMax;
const empty = -1;
/** The upper bit of each of four bytes: ranks are below it. */
const upperBits = 0x80808080 | 0;
/** A part of fewer hashes costs less in the table. */
const adoptedMin = 16;
/** To look a hash up in what is adopted costs about so many insertions into the table. */
const searchCost = 4;
const nothing: readonly number[] = [];

/**
 * A set of hashes of 53 bits up to 1,024 of them, registers beyond: what `mergeDistinct` holds, for those who put many together and ask often.
 * To add costs what is added, and how many registers hold each rank is kept up, so that to ask costs nothing that grows.
 */
export class RunningDistinct {
  readonly #table = new Float64Array(tableSize).fill(empty);
  readonly #hashes = new Float64Array(exactMax);
  /** Where each of them is in the table. */
  readonly #places = new Int16Array(exactMax);
  #count = 0;
  /** A part that is held as it is, ascending: a tile that stands almost alone in its window costs nothing. None of it is in the table. */
  #adopted = nothing;
  #searches = 0;
  readonly #ranks = new Uint8Array(registers);
  readonly #ranksByFour = new Int32Array(this.#ranks.buffer);
  readonly #ofRank = new Int32Array(64);
  #isExact = true;
  #estimate: number | undefined;

  clear(): void {
    for (let i = 0; i < this.#count; i++) this.#table[this.#places[i] as number] = empty;
    this.#count = 0;
    this.#adopted = nothing;
    this.#searches = 0;
    if (this.#isExact) return;
    this.#isExact = true;
    this.#ranks.fill(0);
  }

  add(hash: number): void {
    if (!this.#isExact) {
      this.#register(hash);
      return;
    }
    if (this.#adopted !== nothing && this.#isAdopted(hash)) return;
    const place = this.#placeOf(hash);
    if (this.#table[place] === hash) return;
    if (this.#adopted.length + this.#count === exactMax) {
      this.#estimateFromNowOn();
      this.#register(hash);
      return;
    }
    this.#table[place] = hash;
    this.#hashes[this.#count] = hash;
    this.#places[this.#count++] = place;
  }

  /** Hashes, ascending, or registers; they must stay as they are until what is held is cleared. */
  addPart(part: readonly number[] | Uint8Array): void {
    if (part instanceof Uint8Array) {
      if (this.#isExact) this.#begin(part);
      else this.#raiseAll(part);
      return;
    }
    const isMost = part.length >= adoptedMin && part.length > searchCost * this.#count;
    if (this.#isExact && this.#adopted === nothing && isMost) this.#adopt(part);
    else for (let i = 0; i < part.length; i++) this.add(part[i] as number);
  }

  value(): number {
    if (this.#isExact) return this.#adopted.length + this.#count;
    this.#estimate ??= estimateOf(this.#ofRank);
    return this.#estimate;
  }

  #adopt(part: readonly number[]): void {
    const others = this.#hashes.slice(0, this.#count);
    for (let i = 0; i < this.#count; i++) this.#table[this.#places[i] as number] = empty;
    this.#count = 0;
    this.#adopted = part;
    for (const hash of others) this.add(hash);
  }

  /** Whoever asks often has all of it in the table. */
  #isAdopted(hash: number): boolean {
    const adopted = this.#adopted;
    if (searchCost * ++this.#searches > adopted.length) {
      this.#adopted = nothing;
      for (let i = 0; i < adopted.length; i++) this.add(adopted[i] as number);
      return false;
    }
    let low = 0;
    let high = adopted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((adopted[middle] as number) < hash) low = middle + 1;
      else high = middle;
    }
    return adopted[low] === hash;
  }

  /** Where the hash is, or would be. */
  #placeOf(hash: number): number {
    let place = (hash >>> 0) & (tableSize - 1);
    for (;;) {
      const held = this.#table[place];
      if (held === hash || held === empty) return place;
      place = (place + 1) & (tableSize - 1);
    }
  }

  #estimateFromNowOn(): void {
    this.#isExact = false;
    this.#ofRank.fill(0);
    this.#ofRank[0] = registers;
    this.#estimate = undefined;
    this.#registerAll();
  }

  #registerAll(): void {
    for (let i = 0; i < this.#adopted.length; i++) this.#register(this.#adopted[i] as number);
    for (let i = 0; i < this.#count; i++) this.#register(this.#hashes[i] as number);
  }

  /** As if each register of the first part had been raised from nothing; what was held until now is added to them. */
  #begin(part: Uint8Array): void {
    this.#isExact = false;
    this.#ranks.set(part);
    this.#ofRank.fill(0);
    for (let i = 0; i < registers; i++) {
      const rank = part[i] as number;
      this.#ofRank[rank] = (this.#ofRank[rank] as number) + 1;
    }
    this.#estimate = undefined;
    this.#registerAll();
  }

  /** Four registers at a time: most of what is put together raises few. */
  #raiseAll(part: Uint8Array): void {
    const aligned = part.byteOffset % 4 === 0 ? part : Uint8Array.from(part);
    const given = new Int32Array(aligned.buffer, aligned.byteOffset, registers / 4);
    const held = this.#ranksByFour;
    const ranks = this.#ranks;
    for (let four = 0; four < given.length; four++) {
      // an upper bit is lost where the given rank is above the one held
      const kept = (((held[four] as number) | upperBits) - (given[four] as number)) & upperBits;
      if (kept === upperBits) continue;
      for (let i = 4 * four; i < 4 * four + 4; i++)
        if ((part[i] as number) > (ranks[i] as number)) this.#raise(i, part[i] as number);
    }
  }

  #register(hash: number): void {
    const index = registerOf(hash);
    const rank = rankOf(hash, index);
    if (rank > (this.#ranks[index] as number)) this.#raise(index, rank);
  }

  #raise(index: number, rank: number): void {
    const ofRank = this.#ofRank;
    const before = this.#ranks[index] as number;
    ofRank[before] = (ofRank[before] as number) - 1;
    ofRank[rank] = (ofRank[rank] as number) + 1;
    this.#ranks[index] = rank;
    this.#estimate = undefined;
  }
}
