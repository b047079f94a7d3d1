import type { CallRoute } from './rollouts.ts';
import type { ShadowQueue } from './shadow-queue.ts';

/** What callers got, for the comparison. */
export interface StableAnswer {
  readonly scores: readonly number[];
  readonly ms: number;
}

export interface ShadowCaller {
  readonly signal: AbortSignal;
  readonly deadlineMs: undefined;
  readonly priority: number;
}

/** Sends a call to the shadow when there is room, and tells the rollout how its scores compare. The least urgent of all runs. */
export function shadowCall(
  route: CallRoute,
  queue: ShadowQueue,
  stable: StableAnswer,
  bytes: number,
  score: (caller: ShadowCaller) => Promise<readonly number[]>,
): void {
  const isTaken = queue.offer(async (signal) => {
    const startedMs = performance.now();
    try {
      const scores = await score({ signal, deadlineMs: undefined, priority: 3 });
      const ms = { canary: performance.now() - startedMs, stable: stable.ms };
      const pairs = stable.scores.map((value, row) => ({ stable: value, canary: scores[row] ?? Number.NaN }));
      route.shadowed({ t: 'paired', pairs, ms });
    } catch {
      // the callers have their answers; how often it happens is counted
      route.shadowed({ t: 'failed' });
    }
  }, bytes);
  if (!isTaken) route.shadowed({ t: 'dropped' });
}
