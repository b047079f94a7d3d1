import type { Scalar } from '@millrace/features';

export type SeenEvent = { readonly id: string; readonly timeUs: number };

/** Accepted events of one key that a later one may collide with; a handful, as lateness is bounded. */
const eventsPerKeyMax = 4;

/**
 * Which values a source's events had lately, for one `unique` expectation. Bounded: when there are more keys than the limit, those that
 * were seen first go, and are counted.
 */
export class UniqueBook {
  readonly #windowUs: number;
  readonly #keysMax: number;
  readonly #seen = new Map<string, SeenEvent[]>();
  #newestUs = Number.NEGATIVE_INFINITY;
  dropped = 0;

  constructor(options: { readonly windowUs: number; readonly keysMax: number }) {
    this.#windowUs = options.windowUs;
    this.#keysMax = options.keysMax;
  }

  get size(): number {
    return this.#seen.size;
  }

  /** Another event of the same key within the window. */
  collision(key: string, id: string, timeUs: number): SeenEvent | undefined {
    return this.#seen.get(key)?.find((event) => event.id !== id && Math.abs(event.timeUs - timeUs) < this.#windowUs);
  }

  /** Returns how to take it back. */
  add(key: string, id: string, timeUs: number): () => void {
    const before = this.#seen.get(key);
    const others = before?.filter((event) => event.id !== id) ?? [];
    // at the end of the map, so that what is first was touched longest ago
    this.#seen.delete(key);
    this.#seen.set(key, [...others, { id, timeUs }].slice(-eventsPerKeyMax));
    this.#newestUs = Math.max(this.#newestUs, timeUs);
    this.#prune();
    return () => {
      if (before === undefined) this.#seen.delete(key);
      else this.#seen.set(key, before);
    };
  }

  #prune(): void {
    // twice the window: an event that is late by up to one window still finds what it collides with
    const oldestUs = this.#newestUs - 2 * this.#windowUs;
    for (const [key, events] of this.#seen) {
      const isOld = events.every(({ timeUs }) => timeUs <= oldestUs);
      if (!isOld && this.#seen.size <= this.#keysMax) return;
      if (!isOld) this.dropped++;
      this.#seen.delete(key);
    }
  }
}

/** Null when a value is: null is equal to nothing. */
export function uniqueKey(values: readonly Scalar[]): string | null {
  let key = '';
  for (const value of values) {
    if (value === null) return null;
    const text = String(value);
    key += `${text.length}:${text}`;
  }
  return key;
}
