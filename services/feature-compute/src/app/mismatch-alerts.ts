import type { Clock } from '@millrace/kernel';
import { createAlertPace, type Telemetry } from '@millrace/runtime';
import type { ServedMismatch } from './report-mismatches.ts';

export type MismatchAlert = {
  readonly dedupKey: string;
  /** How many mismatches of the feature there were since its last alert. */
  readonly occurrences: number;
  readonly first: ServedMismatch;
};

export type RaiseMismatchAlert = (mismatches: readonly ServedMismatch[]) => Promise<void>;

/** One alert for each feature that is wrong, at the pace of all alerts. */
export function createMismatchAlerts(deps: {
  readonly publish: (alert: MismatchAlert) => Promise<void>;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}): RaiseMismatchAlert {
  const pace = createAlertPace(deps);
  return async (mismatches) => {
    const byKey = Map.groupBy(
      mismatches,
      ({ view, version, feature }) => `parity_mismatch/${view}@${version}/${feature}`,
    );
    for (const [dedupKey, same] of byKey) {
      const [first] = same;
      if (first === undefined) continue;
      await pace.raise(dedupKey, same.length, (occurrences) => deps.publish({ dedupKey, occurrences, first }));
    }
  };
}
