export type RowCount = { rows: number; failed: number };

/** Counts of row checks by source, expectation and interval of known time, until the interval is judged. */
export class RowTally {
  readonly #counts = new Map<string, Map<string, Map<number, RowCount>>>();

  /** Events that were looked at, and which expectations how many of them fail. */
  add(source: string, startsUs: ReadonlyMap<string, number>, rows: number, failed: ReadonlyMap<string, number>): void {
    let ofSource = this.#counts.get(source);
    if (ofSource === undefined) {
      ofSource = new Map();
      this.#counts.set(source, ofSource);
    }
    for (const [expectation, startUs] of startsUs) {
      let counts = ofSource.get(expectation);
      if (counts === undefined) {
        counts = new Map();
        ofSource.set(expectation, counts);
      }
      const count = counts.get(startUs) ?? { rows: 0, failed: 0 };
      count.rows += rows;
      count.failed += failed.get(expectation) ?? 0;
      counts.set(startUs, count);
    }
  }

  count(source: string, expectation: string, startUs: number): RowCount {
    return this.#counts.get(source)?.get(expectation)?.get(startUs) ?? { rows: 0, failed: 0 };
  }

  /** Forgets the intervals that begin before a time. */
  forget(source: string, expectation: string, beforeUs: number): void {
    const counts = this.#counts.get(source)?.get(expectation);
    for (const startUs of counts?.keys() ?? []) if (startUs < beforeUs) counts?.delete(startUs);
  }
}
