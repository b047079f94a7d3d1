/** What one caller has at work, and what it may still take. */
export type Caller = {
  readonly inFlightRows: number;
  /** Takes rows off its rate; returns 0, or in how many milliseconds there are enough, and then takes none. */
  take(rows: number): number;
  began(rows: number): void;
  ended(rows: number): void;
};

export type CallerBook = {
  of(name: string, nowMs: number): Caller;
  /** Callers with rows in flight. */
  active(): number;
};

/** Beyond so many callers at once, further ones share one entry: names are the callers' word and must not fill memory. */
const callersMax = 1_000;

export function createCallerBook({ rowsPerSMax }: { readonly rowsPerSMax: number }): CallerBook {
  const byName = new Map<string, Entry>();
  let active = 0;

  class Entry implements Caller {
    inFlightRows = 0;
    #tokens = rowsPerSMax;
    #atMs: number;

    constructor(nowMs: number) {
      this.#atMs = nowMs;
    }

    refill(nowMs: number): void {
      this.#tokens = Math.min(rowsPerSMax, this.#tokens + ((nowMs - this.#atMs) * rowsPerSMax) / 1000);
      this.#atMs = nowMs;
    }

    take(rows: number): number {
      if (rowsPerSMax === 0) return 0;
      // a request larger than a second's worth waits for a full bucket and leaves it in debt
      const needed = Math.min(rows, rowsPerSMax);
      if (this.#tokens < needed) return ((needed - this.#tokens) * 1000) / rowsPerSMax;
      this.#tokens -= rows;
      return 0;
    }

    began(rows: number): void {
      if (this.inFlightRows === 0) active++;
      this.inFlightRows += rows;
    }

    ended(rows: number): void {
      this.inFlightRows -= rows;
      if (this.inFlightRows === 0) active--;
    }

    get idle(): boolean {
      return this.inFlightRows === 0 && this.#tokens >= rowsPerSMax;
    }
  }

  function makeRoom(nowMs: number): void {
    for (const [name, entry] of byName) {
      entry.refill(nowMs);
      if (entry.idle) byName.delete(name);
    }
  }

  return {
    of(name, nowMs) {
      let entry = byName.get(name);
      if (!entry) {
        if (byName.size >= callersMax) makeRoom(nowMs);
        const key = byName.size >= callersMax ? '' : name;
        entry = byName.get(key) ?? new Entry(nowMs);
        byName.set(key, entry);
      } else if (rowsPerSMax > 0) entry.refill(nowMs);
      return entry;
    },
    active: () => active,
  };
}
