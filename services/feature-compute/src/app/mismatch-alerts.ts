import { type Clock, toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { ServedMismatch } from './report-mismatches.ts';

export type MismatchAlert = {
  readonly dedupKey: string;
  /** How many mismatches of the feature there were since its last alert. */
  readonly occurrences: number;
  readonly first: ServedMismatch;
};

export type RaiseMismatchAlert = (mismatches: readonly ServedMismatch[]) => Promise<void>;

const quietUs = 300_000_000;
/** View versions × features that are remembered; beyond it the oldest may alert again. */
const keysMax = 10_000;

/** One alert for each feature that is wrong, at once; while it goes on another every five minutes, with the count since. */
export function createMismatchAlerts(deps: {
  readonly publish: (alert: MismatchAlert) => Promise<void>;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}): RaiseMismatchAlert {
  const raised = new Map<string, { atUs: number; since: number }>();
  return async (mismatches) => {
    const firstOf = new Map<string, ServedMismatch>();
    for (const mismatch of mismatches) {
      const key = `parity_mismatch/${mismatch.view}@${mismatch.version}/${mismatch.feature}`;
      if (!firstOf.has(key)) firstOf.set(key, mismatch);
      const known = raised.get(key) ?? { atUs: Number.NEGATIVE_INFINITY, since: 0 };
      known.since++;
      raised.set(key, known);
    }
    const nowUs = deps.clock.nowUs();
    for (const [dedupKey, first] of firstOf) {
      const known = raised.get(dedupKey);
      if (known === undefined || nowUs - known.atUs < quietUs) continue;
      try {
        await deps.publish({ dedupKey, occurrences: known.since, first });
        known.atUs = nowUs;
        known.since = 0;
      } catch (thrown) {
        // its count stays, and the next mismatch tries again
        deps.telemetry.log.error({ event: 'alert_not_raised', dedupKey, error: toMeshError(thrown).message });
      }
    }
    for (const key of raised.keys()) {
      if (raised.size <= keysMax) break;
      raised.delete(key);
    }
  };
}
