import { type Clock, toMeshError } from '@millrace/kernel';
import type { Telemetry } from './telemetry.ts';

/** Raises alerts of a key at once, and while they go on another every five minutes, with the count since. */
export type AlertPace = {
  /** `count` more of a key; `send` gets how many there were since its last alert, and the time. What it throws is logged, and the next one tries again. */
  raise(dedupKey: string, count: number, send: (occurrences: number, raisedUs: number) => Promise<void>): Promise<void>;
};

const quietUs = 300_000_000;
/** Keys that are remembered; beyond it the oldest may alert again. */
const keysMax = 10_000;

export function createAlertPace({
  clock,
  telemetry,
}: {
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}): AlertPace {
  const raised = new Map<string, { atUs: number; since: number }>();
  return {
    async raise(dedupKey, count, send) {
      const known = raised.get(dedupKey) ?? { atUs: Number.NEGATIVE_INFINITY, since: 0 };
      known.since += count;
      raised.set(dedupKey, known);
      const nowUs = clock.nowUs();
      if (nowUs - known.atUs >= quietUs) {
        try {
          await send(known.since, nowUs);
          known.atUs = nowUs;
          known.since = 0;
        } catch (thrown) {
          telemetry.log.error({ event: 'alert_not_raised', dedupKey, error: toMeshError(thrown).message });
        }
      }
      for (const key of raised.keys()) {
        if (raised.size <= keysMax) break;
        raised.delete(key);
      }
    },
  };
}
