import { setTimeout as sleep } from 'node:timers/promises';

export type EventuallyOptions = {
  /** Default 10,000. */
  readonly timeoutMs?: number;
  /** Default 20. */
  readonly everyMs?: number;
};

/**
 * Calls `attempt` until it neither throws nor returns `false`, and returns what it returned. At the deadline it throws
 * the last error, so that a failing `expect` inside reads as if it stood alone.
 */
export async function eventually<T>(
  attempt: () => T | Promise<T>,
  { timeoutMs = 10_000, everyMs = 20 }: EventuallyOptions = {},
): Promise<Exclude<T, false>> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    let last: unknown;
    try {
      const value = await attempt();
      if (value !== false) return value as Exclude<T, false>;
      last = new Error(`still false after ${timeoutMs} ms`);
    } catch (cause) {
      last = cause;
    }
    if (performance.now() >= deadlineMs) throw last;
    await sleep(everyMs);
  }
}
