/** An operation that took an event away, or put another in its place, and that a view does not reflect yet. */
export type Retraction = { readonly seq: number; readonly knownTimeUs: number };

/** As a checkpoint keeps them: event id, position, known time. */
export type SavedRetractions = readonly (readonly [id: string, seq: number, knownTimeUs: number])[];

/** The retractions of one view that wait for the rebuilding of their entities; of each event the last. */
export class Retractions {
  readonly #byId = new Map<string, Retraction>();
  /** Settled by states that may not be saved yet. */
  #settled: { readonly id: string; readonly retraction: Retraction; readonly marks: number }[] = [];

  constructor(saved: SavedRetractions = []) {
    for (const [id, seq, knownTimeUs] of saved) this.add(id, { seq, knownTimeUs });
  }

  get size(): number {
    return this.#byId.size;
  }

  add(id: string, retraction: Retraction): void {
    // at the end of the map: positions grow, so the oldest is first
    this.#byId.delete(id);
    this.#byId.set(id, retraction);
  }

  /** At most `limit`, those that wait longest; they stay until they are settled. */
  first(limit: number): ReadonlyMap<string, Retraction> {
    const taken = new Map<string, Retraction>();
    for (const [id, retraction] of this.#byId) {
      if (taken.size >= limit) break;
      taken.set(id, retraction);
    }
    return taken;
  }

  /**
   * Forgets those that were taken, but for events that had another operation since. Until what was marked as unsaved up to now (`marks`) is saved, a
   * checkpoint still has them: the states that reflect them may be lost.
   */
  settle(taken: ReadonlyMap<string, Retraction>, marks: number): void {
    for (const [id, retraction] of taken) {
      if (this.#byId.get(id) !== retraction) continue;
      this.#byId.delete(id);
      this.#settled.push({ id, retraction, marks });
    }
  }

  /** The position of the oldest; undefined when there is none. */
  oldest(): number | undefined {
    const [first] = this.#byId.values();
    return first?.seq;
  }

  /** By position; `taken`: how many of the marks are saved. */
  save(taken: number): SavedRetractions {
    this.#settled = this.#settled.filter(({ marks }) => marks > taken);
    const all = [...this.#settled.map(({ id, retraction }) => [id, retraction] as const), ...this.#byId];
    return all.map(([id, { seq, knownTimeUs }]) => [id, seq, knownTimeUs] as const).sort((a, b) => a[1] - b[1]);
  }
}
