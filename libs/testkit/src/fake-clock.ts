import type { Clock } from '@millrace/kernel';

/** Stands still until told. Times are UTC microseconds since the Unix epoch. */
export class FakeClock implements Clock {
  #nowUs: number;

  constructor(startUs = Date.UTC(2026, 0, 1) * 1000) {
    this.#nowUs = startUs;
  }

  nowUs(): number {
    return this.#nowUs;
  }

  advanceUs(byUs: number): void {
    this.#nowUs += byUs;
  }

  advanceMs(byMs: number): void {
    this.#nowUs += byMs * 1000;
  }

  setUs(nowUs: number): void {
    this.#nowUs = nowUs;
  }
}
