/** The largest event time seen of each source, in UTC microseconds; a pure function of the EVENTS stream. */
export class Frontiers {
  readonly #bySource = new Map<string, number>();

  constructor(saved: Readonly<Record<string, number>> = {}) {
    for (const [source, frontierUs] of Object.entries(saved)) this.#bySource.set(source, frontierUs);
  }

  advance(source: string, eventTimeUs: number): void {
    const frontierUs = this.#bySource.get(source);
    if (frontierUs === undefined || eventTimeUs > frontierUs) this.#bySource.set(source, eventTimeUs);
  }

  /** 0 when the source has had no event. */
  of(source: string): number {
    return this.#bySource.get(source) ?? 0;
  }

  /**
   * What lateness is measured against: an event from the future (they are accepted up to the source's skew) must not make
   * tiles die that a read of this instant still needs.
   */
  effective(source: string, nowUs: number): number {
    return Math.min(this.of(source), nowUs);
  }

  toRecord(): Record<string, number> {
    return Object.fromEntries(this.#bySource);
  }
}
