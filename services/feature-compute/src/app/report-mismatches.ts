import type { FeatureType, FeatureValue, ViewDefinition } from '@millrace/features';
import { type Clock, toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { ServedSample, Verification } from './compare-samples.ts';
import type { ComputeMetrics } from './compute-metrics.ts';

/** A value that was served and that history does not confirm, with all that is needed to look into it. */
export type ServedMismatch = {
  readonly view: string;
  readonly version: string;
  readonly feature: string;
  readonly type: FeatureType;
  readonly keys: ReadonlyMap<string, string>;
  readonly asOfUs: number;
  readonly position: number;
  readonly served: FeatureValue;
  readonly expected: FeatureValue;
  readonly featureService: string;
  readonly servedUs: number;
  readonly foundUs: number;
};

/** Where mismatches are kept. */
export interface MismatchBook {
  add(mismatches: readonly ServedMismatch[]): Promise<void>;
  /** Newest first. */
  list(which: {
    readonly view: string;
    readonly feature: string;
    readonly limit: number;
  }): Promise<readonly ServedMismatch[]>;
}

/** A sample that came from a read of its own, and not from a caller of VerifySamples. */
export type Provenance = { readonly featureService: string; readonly servedUs: number };

/** Counts the outcome of a comparison, and logs and keeps what differs. Resolves with what it kept. */
export type ReportMismatches = (
  view: ViewDefinition,
  samples: readonly (ServedSample & Partial<Provenance>)[],
  verification: Verification,
) => Promise<readonly ServedMismatch[]>;

const loggedMax = 20;
/** Of one comparison: when everything is wrong, a few examples say so. */
const keptMax = 200;

export function createReportMismatches(deps: {
  readonly book: MismatchBook;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly metrics: ComputeMetrics;
}): ReportMismatches {
  const { log } = deps.telemetry;
  return async (view, samples, { compared, mismatches }) => {
    const byFeature = new Map<string, number>();
    for (const { feature } of mismatches) {
      const name = `${view.name}__${feature}`;
      byFeature.set(name, (byFeature.get(name) ?? 0) + 1);
    }
    deps.metrics.parity(compared, byFeature);
    const foundUs = deps.clock.nowUs();
    const kept = mismatches.slice(0, keptMax).map(({ sample: index, feature, type, served, expected }) => {
      const sample = samples[index];
      return {
        view: view.name,
        version: view.version,
        feature,
        type,
        keys: new Map(view.joinKeys.map(({ name }, at) => [name, String(sample?.keys[at])])),
        asOfUs: sample?.asOfUs ?? 0,
        position: sample?.position ?? 0,
        served,
        expected,
        featureService: sample?.featureService ?? '',
        servedUs: sample?.servedUs ?? 0,
        foundUs,
      };
    });
    if (kept.length === 0) return kept;
    for (const mismatch of kept.slice(0, loggedMax)) {
      const { keys, served, expected } = mismatch;
      log.error({
        event: 'parity_mismatch',
        ...mismatch,
        keys: Object.fromEntries(keys),
        served: printable(served),
        expected: printable(expected),
      });
    }
    await deps.book.add(kept).catch((thrown) => {
      log.error({ event: 'mismatches_not_kept', mismatches: kept.length, error: toMeshError(thrown).message });
    });
    return kept;
  };
}

function printable(value: FeatureValue): string | number | boolean | null {
  if (typeof value === 'object' && value !== null) return `[${value.join(', ')}]`;
  return typeof value === 'bigint' ? value.toString() : value;
}
