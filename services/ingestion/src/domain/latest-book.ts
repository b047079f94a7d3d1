import type { Scalar } from '@millrace/features';

type Dated = { readonly value: Scalar; readonly timeUs: number };

/** Values of one key that an event which comes late may still take. */
const valuesPerKeyMax = 4;

/** The last values of some fields by key, for carrying them forward. Bounded: the keys that were touched longest ago go. */
export class LatestBook {
  readonly #keysMax: number;
  readonly #latest = new Map<string, readonly Dated[]>();

  constructor(options: { readonly keysMax: number }) {
    this.#keysMax = options.keysMax;
  }

  /** The latest at or before the time, of the last four; undefined when there is none. */
  get(field: string, key: string, timeUs: number): Scalar | undefined {
    return this.#latest.get(`${field}\n${key}`)?.findLast((dated) => dated.timeUs <= timeUs)?.value;
  }

  /** Returns how to take it back. */
  put(field: string, key: string, timeUs: number, value: Scalar): () => void {
    const at = `${field}\n${key}`;
    const known = this.#latest.get(at);
    const values = [...(known ?? []), { value, timeUs }].sort((a, b) => a.timeUs - b.timeUs).slice(-valuesPerKeyMax);
    this.#latest.delete(at);
    this.#latest.set(at, values);
    if (this.#latest.size > this.#keysMax) {
      const [oldest] = this.#latest.keys();
      if (oldest !== undefined) this.#latest.delete(oldest);
    }
    return () => {
      if (known === undefined) this.#latest.delete(at);
      else this.#latest.set(at, known);
    };
  }
}
