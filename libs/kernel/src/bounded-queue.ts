import { MeshError } from './errors.ts';

/**
 * A first-in first-out queue with a limit. When full, `reject` throws OVERLOADED at the producer and `wait` lets it await room.
 */
export class BoundedQueue<T> {
  readonly #capacity: number;
  readonly #onFull: 'reject' | 'wait';
  readonly #name: string;
  #items: T[] = [];
  #readers: ((item: IteratorResult<T>) => void)[] = [];
  #writers: (() => void)[] = [];
  #closed = false;

  constructor(options: { readonly name: string; readonly capacity: number; readonly onFull: 'reject' | 'wait' }) {
    this.#capacity = options.capacity;
    this.#onFull = options.onFull;
    this.#name = options.name;
  }

  get size(): number {
    return this.#items.length;
  }

  async push(item: T): Promise<void> {
    while (!this.#closed && this.#items.length >= this.#capacity) {
      if (this.#onFull === 'reject') {
        throw new MeshError(
          'OVERLOADED',
          `queue "${this.#name}" is full at its limit of ${this.#capacity}; retry later`,
          { queue: this.#name, limit: this.#capacity },
          { retryAfterMs: 100 },
        );
      }
      await new Promise<void>((resolve) => this.#writers.push(resolve));
    }
    if (this.#closed) throw new MeshError('SHUTTING_DOWN', `queue "${this.#name}" is closed`, { queue: this.#name });
    const reader = this.#readers.shift();
    if (reader) reader({ value: item, done: false });
    else this.#items.push(item);
  }

  /** The next item, when there is one; `done` once the queue is closed and empty. */
  next(): Promise<IteratorResult<T>> {
    if (this.#items.length > 0) {
      const value = this.#items.shift() as T;
      this.#writers.shift()?.();
      return Promise.resolve({ value, done: false });
    }
    if (this.#closed) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  close(): void {
    this.#closed = true;
    for (const reader of this.#readers.splice(0)) reader({ value: undefined, done: true });
    for (const writer of this.#writers.splice(0)) writer();
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return { next: () => this.next() };
  }
}
