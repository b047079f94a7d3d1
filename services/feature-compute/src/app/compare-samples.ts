import type { FeatureDefinition, FeatureType, FeatureValue, ViewDefinition } from '@millrace/features';
import { valueOfNothing, viewFeatureTypes } from '@millrace/features';
import { type Comparison, isFloating, type Scale, sameValue } from '../domain/compare.ts';
import type { AsOfSample, EvaluateAsOf } from './as-of.ts';

/** A row as it was served; undefined where the status told no value that could be compared. */
export type ServedSample = AsOfSample & { readonly served: readonly (FeatureValue | undefined)[] };

export type ValueMismatch = {
  readonly sample: number;
  readonly feature: string;
  readonly type: FeatureType;
  readonly served: FeatureValue;
  readonly expected: FeatureValue;
};

export type Verification = { readonly compared: number; readonly mismatches: readonly ValueMismatch[] };

export type CompareSamples = (
  view: ViewDefinition,
  features: readonly string[],
  samples: readonly ServedSample[],
) => Promise<Verification>;

/** Compares served values with what history says. It must hold every sample's position already. */
export function createCompareSamples(deps: { readonly evaluate: EvaluateAsOf }): CompareSamples {
  return async (view, features, samples) => {
    const expected = await deps.evaluate(view, features, samples, { inBackground: true });
    const comparisons = comparisonsOf(view, features);
    const suspects: ValueMismatch[] = [];
    let compared = 0;
    for (const [sample, { served }] of samples.entries()) {
      for (const [at, feature] of features.entries()) {
        const how = comparisons[at];
        const given = served[at];
        if (how === undefined || given === undefined) continue;
        const left = finite(given);
        const right = finite(expected[sample]?.values[at] ?? null);
        compared++;
        // an entity without a row serves null where SQL counts nothing as 0, or lists nothing
        if (left === null && right !== null && sameValue(right, how.ofNothing, how)) continue;
        if (!sameValue(left, right, how))
          suspects.push({ sample, feature, type: how.type, served: left, expected: right });
      }
    }
    return { compared, mismatches: await withoutRounding(view, samples, suspects, comparisons, features) };
  };

  /** Floating values that differ are looked at again with the size of their inputs, which only SQL knows. */
  async function withoutRounding(
    view: ViewDefinition,
    samples: readonly ServedSample[],
    suspects: readonly ValueMismatch[],
    comparisons: readonly Comparison[],
    features: readonly string[],
  ): Promise<readonly ValueMismatch[]> {
    const howOf = new Map(features.map((feature, at) => [feature, comparisons[at]]));
    // of a count or rate of events there is no larger input
    const fielded = new Set(view.features.filter(({ field, input }) => field !== '' || input).map(({ name }) => name));
    const floating = suspects.filter(({ feature, served, expected }) => {
      const how = howOf.get(feature);
      return how !== undefined && isFloating(how) && fielded.has(feature) && served !== null && expected !== null;
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
        // of a change: whatever of its two windows holds the largest
        ...(feature.function === 'change' ? { window: { t: 'lifetime' as const } } : {}),
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
}

/** What overflowed has no number in ClickHouse's JSON. */
function finite(value: FeatureValue): FeatureValue {
  return typeof value === 'number' && !Number.isFinite(value) ? null : value;
}

type FeatureComparison = Comparison & { readonly ofNothing: FeatureValue };

function comparisonsOf(view: ViewDefinition, features: readonly string[]): readonly FeatureComparison[] {
  const types = viewFeatureTypes(view);
  const byName = new Map(
    view.features.map((feature, at) => [
      feature.name,
      { function: feature.function, type: types[at] ?? 'DOUBLE', ofNothing: valueOfNothing(feature) },
    ]),
  );
  return features.map((name) => byName.get(name) ?? { function: 'last', type: 'DOUBLE', ofNothing: null });
}
