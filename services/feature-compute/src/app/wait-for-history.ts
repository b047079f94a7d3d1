import { sleep } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';

/** Resolves when history has everything of a source up to a position, or the signal aborts. */
export type WaitForHistory = (source: string, position: number, signal: AbortSignal) => Promise<void>;

/**
 * History is written in stream order, a position whole or not at all, so it is complete up to a position once its largest one has reached the
 * source's last one up to there, or has passed it.
 */
export function createWaitForHistory(deps: {
  readonly history: { maxPosition(source: string): Promise<number> };
  /** The last position of a source in the EVENTS stream; 0 when it has none. */
  readonly lastPosition: (source: string) => Promise<number>;
  readonly telemetry: Telemetry;
  readonly pollMs: number;
}): WaitForHistory {
  return async (source, position, signal) => {
    const target = Math.min(await deps.lastPosition(source), position);
    // true of a source without events before anyone asks: of thousands of views each would ask
    if (target === 0) return;
    for (let waits = 0; !signal.aborted; waits++) {
      const reached = await deps.history.maxPosition(source);
      if (reached >= target) return;
      if (waits % 100 === 99) deps.telemetry.log.info({ event: 'waiting_for_history', source, reached, target });
      await sleep(deps.pollMs, signal);
    }
  };
}
