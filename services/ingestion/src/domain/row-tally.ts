import type { BatchVerdict } from '@millrace/sources';

/** `rows`: events that a check of rows looked at, or batches that one of batches judged; `unjudged`: batches with too little to judge. */
export type RowCount = { rows: number; failed: number; unjudged: number; lastFailure: string };

/** Counts of checks of rows and of batches by source, expectation and interval of known time, until the interval is judged. */
export class RowTally {
  readonly #counts = new Map<string, Map<string, Map<number, RowCount>>>();

  /** Events that were looked at, and which expectations how many of them fail. */
  add(source: string, startsUs: ReadonlyMap<string, number>, rows: number, failed: ReadonlyMap<string, number>): void {
    for (const [expectation, startUs] of startsUs) {
      const count = this.#of(source, expectation, startUs);
      count.rows += rows;
      count.failed += failed.get(expectation) ?? 0;
    }
  }

  /** A batch, and what became of its checks. */
  addBatch(source: string, startsUs: ReadonlyMap<string, number>, verdicts: readonly BatchVerdict[]): void {
    for (const { expectation, outcome, message } of verdicts) {
      const startUs = startsUs.get(expectation);
      if (startUs === undefined) continue;
      const count = this.#of(source, expectation, startUs);
      if (outcome !== 'PASS' && outcome !== 'FAIL') count.unjudged++;
      else count.rows++;
      if (outcome !== 'FAIL') continue;
      count.failed++;
      count.lastFailure = message;
    }
  }

  count(source: string, expectation: string, startUs: number): RowCount {
    return this.#counts.get(source)?.get(expectation)?.get(startUs) ?? emptyCount();
  }

  /** Forgets the intervals that begin before a time. */
  forget(source: string, expectation: string, beforeUs: number): void {
    const counts = this.#counts.get(source)?.get(expectation);
    for (const startUs of counts?.keys() ?? []) if (startUs < beforeUs) counts?.delete(startUs);
  }
  #of(source: string, expectation: string, startUs: number): RowCount {
    let ofSource = this.#counts.get(source);
    if (ofSource === undefined) {
      ofSource = new Map();
      this.#counts.set(source, ofSource);
    }
    let counts = ofSource.get(expectation);
    if (counts === undefined) {
      counts = new Map();
      ofSource.set(expectation, counts);
    }
    const count = counts.get(startUs) ?? emptyCount();
    counts.set(startUs, count);
    return count;
  }
}

function emptyCount(): RowCount {
  return { rows: 0, failed: 0, unjudged: 0, lastFailure: '' };
}
