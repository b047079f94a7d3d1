import type { FeatureDefinition, FieldType, Scalar, ViewDefinition } from '@millrace/features';
import { valueOfNothing, viewFeatureTypes } from '@millrace/features';
import { type Clock, MeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { type Comparison, isFloating, type Scale, sameValue } from '../domain/compare.ts';
import type { AsOfSample, EvaluateAsOf } from './as-of.ts';
import type { ComputeMetrics } from './compute-metrics.ts';
import { sleep } from './sleep.ts';

export type ServedSample = AsOfSample & { readonly served: readonly Scalar[] };

export type ValueMismatch = {
  readonly sample: number;
  readonly feature: string;
  readonly type: FieldType;
  readonly served: Scalar;
  readonly expected: Scalar;
};

export type Verification = { readonly compared: number; readonly mismatches: readonly ValueMismatch[] };

export type VerifySamples = (
  view: ViewDefinition,
  features: readonly string[],
  samples: readonly ServedSample[],
  options: { readonly deadlineMs: number | undefined; readonly signal: AbortSignal },
) => Promise<Verification>;

const loggedMax = 20;
const pollMs = 50;

/** Compares served values with what history says, after waiting until history holds every sample's position. */
export function createVerifySamples(deps: {
  readonly evaluate: EvaluateAsOf;
  readonly maxPosition: (source: string) => Promise<number>;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly metrics: ComputeMetrics;
  readonly waitMs: number;
}): VerifySamples {
  return async (view, features, samples, { deadlineMs, signal }) => {
    await waitForHistory(view.source, samples, deadlineMs, signal);
    const expected = await deps.evaluate(view, features, samples, { inBackground: true });
    const comparisons = comparisonsOf(view, features);
    const suspects: ValueMismatch[] = [];
    let compared = 0;
    for (const [sample, { served }] of samples.entries()) {
      for (const [at, feature] of features.entries()) {
        const how = comparisons[at];
        if (how === undefined) continue;
        const left = served[at] ?? null;
        const right = expected[sample]?.values[at] ?? null;
        compared++;
        // an entity without a row serves null where SQL counts nothing as 0
        if (left === null && right !== null && Number(right) === valueOfNothing(how.function)) continue;
        if (!sameValue(left, right, how))
          suspects.push({ sample, feature, type: how.type, served: left, expected: right });
      }
    }
    const mismatches = await withoutRounding(view, samples, suspects, comparisons, features);
    report(view, samples, compared, mismatches);
    return { compared, mismatches };
  };

  async function waitForHistory(
    source: string,
    samples: readonly ServedSample[],
    deadlineMs: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const target = samples.reduce((largest, sample) => Math.max(largest, sample.position), 0);
    const nowMs = () => deps.clock.nowUs() / 1000;
    const untilMs = Math.min(
      nowMs() + deps.waitMs,
      deadlineMs === undefined ? Number.POSITIVE_INFINITY : deadlineMs - 500,
    );
    for (;;) {
      const reached = await deps.maxPosition(source);
      if (reached >= target) return;
      if (signal.aborted || nowMs() >= untilMs) {
        throw new MeshError(
          'NOT_READY',
          `history of source "${source}" has come to position ${reached}, not yet to ${target}; try again later`,
          { source, reached, target },
          { retryAfterMs: 1_000 },
        );
      }
      await sleep(pollMs, signal);
    }
  }

  /** Floating values that differ are looked at again with the size of their inputs, which only SQL knows. */
  async function withoutRounding(
    view: ViewDefinition,
    samples: readonly ServedSample[],
    suspects: readonly ValueMismatch[],
    comparisons: readonly Comparison[],
    features: readonly string[],
  ): Promise<readonly ValueMismatch[]> {
    const howOf = new Map(features.map((feature, at) => [feature, comparisons[at]]));
    const floating = suspects.filter(({ feature, served, expected }) => {
      const how = howOf.get(feature);
      return how !== undefined && isFloating(how) && served !== null && expected !== null;
    });
    if (floating.length === 0) return suspects;
    const scales = await scalesOf(view, samples, floating);
    return suspects.filter((suspect) => {
      const how = howOf.get(suspect.feature);
      const scale = scales.get(suspect);
      return how === undefined || scale === undefined || !sameValue(suspect.served, suspect.expected, how, scale);
    });
  }

  async function scalesOf(
    view: ViewDefinition,
    samples: readonly ServedSample[],
    suspects: readonly ValueMismatch[],
  ): Promise<ReadonlyMap<ValueMismatch, Scale>> {
    const involved = view.features.filter((feature) => suspects.some((suspect) => suspect.feature === feature.name));
    const companions: readonly FeatureDefinition[] = involved.flatMap((feature) =>
      (['min', 'max', 'count'] as const).map((fn) => ({
        ...feature,
        name: `${feature.name}_${fn}_scale`,
        function: fn,
      })),
    );
    const indexes = [...new Set(suspects.map((suspect) => suspect.sample))];
    const asked = indexes.flatMap((index) => samples[index] ?? []);
    const names = companions.map((companion) => companion.name);
    const rows = await deps.evaluate({ ...view, features: companions }, names, asked);
    const rowOf = new Map(indexes.map((index, at) => [index, rows[at]]));
    return new Map(
      suspects.map((suspect) => {
        const values = rowOf.get(suspect.sample)?.values ?? [];
        const at = names.indexOf(`${suspect.feature}_min_scale`);
        const [smallest, largest, count] = [0, 1, 2].map((step) => Number(values[at + step] ?? 0));
        return [suspect, { largest: Math.max(Math.abs(smallest ?? 0), Math.abs(largest ?? 0)), count: count ?? 0 }];
      }),
    );
  }

  function report(
    view: ViewDefinition,
    samples: readonly ServedSample[],
    compared: number,
    mismatches: readonly ValueMismatch[],
  ): void {
    const byFeature = new Map<string, number>();
    for (const { feature } of mismatches) {
      const name = `${view.name}__${feature}`;
      byFeature.set(name, (byFeature.get(name) ?? 0) + 1);
    }
    deps.metrics.parity(compared, byFeature);
    for (const mismatch of mismatches.slice(0, loggedMax)) {
      const sample = samples[mismatch.sample];
      deps.telemetry.log.error({
        event: 'parity_mismatch',
        view: view.name,
        version: view.version,
        feature: mismatch.feature,
        keys: sample?.keys.map(String),
        asOfUs: sample?.asOfUs,
        position: sample?.position,
        served: printable(mismatch.served),
        expected: printable(mismatch.expected),
      });
    }
  }
}

function comparisonsOf(view: ViewDefinition, features: readonly string[]): readonly Comparison[] {
  const types = viewFeatureTypes(view);
  const byName = new Map(
    view.features.map((feature, at) => [feature.name, { function: feature.function, type: types[at] ?? 'DOUBLE' }]),
  );
  return features.map((name) => byName.get(name) ?? { function: 'last', type: 'DOUBLE' });
}

function printable(value: Scalar): string | number | boolean | null {
  return typeof value === 'bigint' ? value.toString() : value;
}
