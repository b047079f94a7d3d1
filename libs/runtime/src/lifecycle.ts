import { MeshError } from '@millrace/kernel';
import type { Logger } from './logger.ts';

interface Closable {
  close(): Promise<unknown> | unknown;
}

const stopPatienceMs = 10_000;

/** The parts of a process: started in order, stopped in reverse, rolled back when one fails to start. */
export class Lifecycle {
  readonly #log: Logger;
  readonly #parts: { readonly name: string; readonly stop: () => Promise<unknown> | unknown }[] = [];
  readonly #aborter = new AbortController();
  readonly #failure = Promise.withResolvers<unknown>();
  #stopped: Promise<void> | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Aborts when the process begins to stop. */
  get signal(): AbortSignal {
    return this.#aborter.signal;
  }

  /** Resolves with the error of the first part that failed for good while running. */
  get failed(): Promise<unknown> {
    return this.#failure.promise;
  }

  /** Opens a part; it is stopped by `stop`, or by its `close()` when it has one. */
  async start<T>(
    name: string,
    open: (signal: AbortSignal) => Promise<T>,
    stop?: (value: T) => Promise<unknown> | unknown,
  ): Promise<T> {
    const sinceMs = performance.now();
    const value = await open(this.signal);
    const stopPart = stop ? () => stop(value) : isClosable(value) ? () => value.close() : undefined;
    if (stopPart) this.onStop(name, stopPart);
    this.#log.debug({ event: 'part_started', part: name, durationMs: Math.round(performance.now() - sinceMs) });
    return value;
  }

  onStop(name: string, stop: () => Promise<unknown> | unknown): void {
    this.#parts.push({ name, stop });
  }

  /** A running part failed for good: the process stops with exit code 1. */
  fail(error: unknown): void {
    this.#failure.resolve(error);
  }

  /** Stops every part in reverse order, each within ten seconds. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopAll();
    return this.#stopped;
  }

  async #stopAll(): Promise<void> {
    this.#aborter.abort(new MeshError('SHUTTING_DOWN', 'the process is stopping'));
    for (const { name, stop } of this.#parts.splice(0).reverse()) {
      try {
        await within(stopPatienceMs, name, stop);
      } catch (error) {
        this.#log.warn({ event: 'part_stop_failed', part: name, error: String(error) });
      }
    }
  }
}

async function within(patienceMs: number, name: string, stop: () => Promise<unknown> | unknown): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`"${name}" did not stop within ${patienceMs} ms`)), patienceMs);
  });
  try {
    await Promise.race([stop(), late]);
  } finally {
    clearTimeout(timer);
  }
}

function isClosable(value: unknown): value is Closable {
  return typeof value === 'object' && value !== null && 'close' in value && typeof value.close === 'function';
}
