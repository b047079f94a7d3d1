import { isDeepStrictEqual } from 'node:util';
import { definitions } from '@millrace/contracts';
import { MeshError, parseDurationUs } from '@millrace/kernel';
import type { Cel } from './cel.ts';
import { type DerivedOption, derivedToProto } from './derived.ts';
import type { Entity, JoinKeys } from './entity.ts';
import { expectationsToProto, type FeatureExpectationSpec } from './expectations.ts';
import type { FieldOf, Fields, Source } from './source.ts';
import { type Defined, define, type MetadataOptions, type SchemaTypeName } from './types.ts';
import type { WindowOption } from './windows.ts';

type Numeric = 'INT64' | 'DOUBLE' | 'BOOL';

interface FeatureOptions {
  readonly window: WindowOption;
  /** A CEL expression over the source's fields; left out: every event. */
  readonly filter?: string;
  readonly description?: string;
}

interface SpreadOptions extends FeatureOptions {
  /** Degrees of freedom taken off; 1 (the sample's) unless set, 0 for the population's. */
  readonly ddof?: number;
}

interface PercentileOptions extends FeatureOptions {
  /** From 0, the smallest value, to 1, the largest; the median is 0.5. */
  readonly quantile: number;
}

interface DecayOptions extends FeatureOptions {
  /** After so long an event weighs half: `'1h'`; 1 s or more. */
  readonly halfLife: string;
}

interface Described {
  readonly description?: string;
}

interface ListOptions extends FeatureOptions {
  /** How many values at most, 1 to 1,000. */
  readonly n: number;
}

interface HistogramOptions extends FeatureOptions {
  /** Ascending, at most 128; bucket i counts edge i − 1 ≤ value < edge i, the first what is below and the last what is not. */
  readonly edges: readonly number[];
}

export type FeatureSpec = Omit<definitions.AggregatedFeature, 'name'>;

/** The aggregations over a source with fields F: a field that it does not have does not compile. */
export interface Aggregations<F extends Fields> {
  /** Events, or non-null values of a field. */
  count(options: FeatureOptions & { readonly field?: FieldOf<F, SchemaTypeName> | Cel }): FeatureSpec;
  sum(field: FieldOf<F, Numeric> | Cel, options: FeatureOptions): FeatureSpec;
  /** The arithmetic mean; of a boolean, the share of true. */
  mean(field: FieldOf<F, Numeric> | Cel, options: FeatureOptions): FeatureSpec;
  /** Events, or the sum of a field, for each second of the window's size; 0 of nothing. Not over a lifetime. */
  rate(options: FeatureOptions & { readonly field?: FieldOf<F, Numeric> | Cel }): FeatureSpec;
  min(field: FieldOf<F> | Cel, options: FeatureOptions): FeatureSpec;
  max(field: FieldOf<F> | Cel, options: FeatureOptions): FeatureSpec;
  variance(field: FieldOf<F, Numeric> | Cel, options: SpreadOptions): FeatureSpec;
  stddev(field: FieldOf<F, Numeric> | Cel, options: SpreadOptions): FeatureSpec;
  /** The value of the earliest event. */
  first(field: FieldOf<F, SchemaTypeName> | Cel, options: FeatureOptions): FeatureSpec;
  /** The value of the latest event. */
  last(field: FieldOf<F, SchemaTypeName> | Cel, options: FeatureOptions): FeatureSpec;
  /** Distinct values: exact up to 1,024 in the window, beyond that by HyperLogLog with a standard error of 1.6 %; 0 of nothing. */
  distinct(field: FieldOf<F> | Cel, options: FeatureOptions): FeatureSpec;
  /** The value of rank ⌊quantile · (n − 1)⌋, off by less than 0.8 % of itself. */
  percentile(field: FieldOf<F, 'INT64' | 'DOUBLE'> | Cel, options: PercentileOptions): FeatureSpec;
  /** Shannon's entropy of the values in bits; beyond 1,024 distinct values in the window a lower bound. */
  entropy(field: FieldOf<F> | Cel, options: FeatureOptions): FeatureSpec;
  /** Seconds from the latest event, or non-null value of a field, to the read time; null of nothing. */
  age(options: FeatureOptions & { readonly field?: FieldOf<F, SchemaTypeName> | Cel }): FeatureSpec;
  /** Σ value · 2^(−(t − event time) / halfLife) as of the read time t; null of nothing. */
  decayedSum(field: FieldOf<F, Numeric> | Cel, options: DecayOptions): FeatureSpec;
  /** Σ 2^(−(t − event time) / halfLife) over events, or non-null values of a field; 0 of nothing. */
  decayedCount(options: DecayOptions & { readonly field?: FieldOf<F> | Cel }): FeatureSpec;
  /** The mean with the same weights: decayedSum by decayedCount of the field. */
  decayedMean(field: FieldOf<F, Numeric> | Cel, options: DecayOptions): FeatureSpec;
  /** A list of the last n values, the last one first; empty of nothing. */
  lastN(field: FieldOf<F> | Cel, options: ListOptions): FeatureSpec;
  /** A list of the first n values, the first one first; empty of nothing. */
  firstN(field: FieldOf<F> | Cel, options: ListOptions): FeatureSpec;
  /** As lastN, each value once, at its last event. */
  lastDistinctN(field: FieldOf<F> | Cel, options: ListOptions): FeatureSpec;
  /** As firstN, each value once, at its first event. */
  firstDistinctN(field: FieldOf<F> | Cel, options: ListOptions): FeatureSpec;
  /**
   * A list of the n most frequent values, the most frequent first, those that come as often by value. Exact up to 1,024 distinct values in the
   * window; beyond, the most frequent of a sample of 1,024 of them (those with the smallest hashes), whose counts are exact.
   */
  topK(field: FieldOf<F> | Cel, options: ListOptions): FeatureSpec;
  /** The slope per second of the least-squares line through the window's (event time, value); null of fewer than two instants. */
  trend(field: FieldOf<F, Numeric> | Cel, options: FeatureOptions): FeatureSpec;
  /** The last value's distance from the window's mean, in standard deviations; null where the values do not differ. */
  zscore(field: FieldOf<F, Numeric> | Cel, options: SpreadOptions): FeatureSpec;
  /**
   * One aggregation by another of the same window: `of.ratio(of.sum('amount', { window }), of.count({ window }))`. Null where either is null
   * or the second is 0. Both are numbers that do not move with the read time: no lists, ages or decayed sums.
   */
  ratio(numerator: FeatureSpec, denominator: FeatureSpec, options?: Described): FeatureSpec;
  /** An aggregation's value less its value over the window `offset` before: `of.change(of.mean('amount', { window }), { offset: '7d' })`. */
  change(of: FeatureSpec, options: Described & { readonly offset: string }): FeatureSpec;
  /** A list of counts, one for each bucket between the edges and one more; zeros of nothing. */
  histogram(field: FieldOf<F, 'INT64' | 'DOUBLE'> | Cel, options: HistogramOptions): FeatureSpec;
}

export interface FeatureView<N extends string = string> extends Defined {
  readonly kind: 'featureView';
  readonly name: string;
  readonly featureNames: readonly N[];
}

export interface FeatureViewOptions<
  F extends Fields,
  K extends JoinKeys,
  S extends Readonly<Record<string, FeatureSpec>>,
  D extends Readonly<Record<string, DerivedOption>> = Readonly<Record<never, DerivedOption>>,
> extends MetadataOptions {
  readonly entity: Entity<K>;
  readonly source: Source<F>;
  /** Where the join keys are in the source; a key that is left out is the field of the same name. */
  readonly keys?: { readonly [J in keyof K]?: keyof F & string };
  readonly features: (of: Aggregations<F>) => S;
  /** Computed from those when they are read: `{ late_share: 'late_1h / double(flights_1h)' }`. */
  readonly derived?: D;
  /** What is expected of the features: `{ delay_sane: { range: { field: 'mean_delay_1h', min: -60, max: 600 }, severity: 'block' } }`. */
  readonly expectations?: Readonly<Record<string, FeatureExpectationSpec<(keyof S | keyof D) & string>>>;
}

/** Features of an entity computed from a source. */
export function featureView<
  F extends Fields,
  K extends JoinKeys,
  const S extends Readonly<Record<string, FeatureSpec>>,
  const D extends Readonly<Record<string, DerivedOption>> = Readonly<Record<never, DerivedOption>>,
>(name: string, options: FeatureViewOptions<F, K, S, D>): FeatureView<(keyof S | keyof D) & string> {
  const features = Object.entries(options.features(aggregations<F>()));
  const derived = derivedToProto(options.derived ?? {});
  const keys = Object.entries(options.keys ?? {}) as [string, string][];
  const spec: definitions.FeatureView = {
    entity: options.entity.name,
    source: options.source.name,
    keys: keys.map(([joinKey, field]) => ({ joinKey, field })),
    features: features.map(([feature, featureSpec]) => ({ name: feature, ...featureSpec })),
    derived,
    expectations: expectationsToProto(options.expectations),
  };
  return {
    kind: 'featureView',
    name,
    featureNames: [...features.map(([feature]) => feature), ...derived.map((each) => each.name)] as ((
      | keyof S
      | keyof D
    ) &
      string)[],
    definition: define(name, options, { $case: 'featureView', value: spec }),
  };
}

function aggregations<F extends Fields>(): Aggregations<F> {
  const plain = (fn: definitions.AggregationFunction) => (field: string | Cel, options: FeatureOptions) =>
    featureSpec(fn, field, options);
  const spread = (fn: definitions.AggregationFunction) => (field: string | Cel, options: SpreadOptions) =>
    featureSpec(fn, field, options);
  const { AggregationFunction: fn } = definitions;
  return {
    count: (options) => featureSpec(fn.COUNT, options.field ?? '', options),
    sum: plain(fn.SUM),
    mean: plain(fn.MEAN),
    rate: (options) => featureSpec(fn.RATE, options.field ?? '', options),
    min: plain(fn.MIN),
    max: plain(fn.MAX),
    variance: spread(fn.VARIANCE),
    stddev: spread(fn.STDDEV),
    first: plain(fn.FIRST),
    last: plain(fn.LAST),
    distinct: plain(fn.DISTINCT),
    percentile: (field, options) => featureSpec(fn.PERCENTILE, field, options),
    entropy: plain(fn.ENTROPY),
    age: (options) => featureSpec(fn.AGE, options.field ?? '', options),
    decayedSum: (field, options) => featureSpec(fn.DECAYED_SUM, field, options),
    decayedCount: (options) => featureSpec(fn.DECAYED_COUNT, options.field ?? '', options),
    decayedMean: (field, options) => featureSpec(fn.DECAYED_MEAN, field, options),
    lastN: (field, options) => featureSpec(fn.LAST_N, field, options),
    firstN: (field, options) => featureSpec(fn.FIRST_N, field, options),
    lastDistinctN: (field, options) => featureSpec(fn.LAST_DISTINCT_N, field, options),
    firstDistinctN: (field, options) => featureSpec(fn.FIRST_DISTINCT_N, field, options),
    topK: (field, options) => featureSpec(fn.TOP_K, field, options),
    histogram: (field, options) => featureSpec(fn.HISTOGRAM, field, options),
    trend: plain(fn.TREND),
    zscore: spread(fn.ZSCORE),
    ratio,
    change: (of, { offset, description = '' }) => ({
      ...of,
      function: fn.CHANGE,
      of: of.function,
      offsetUs: BigInt(parseDurationUs(offset)),
      description,
    }),
  };
}

function featureSpec(
  fn: definitions.AggregationFunction,
  field: string | Cel,
  options: SpreadOptions & Partial<PercentileOptions & DecayOptions & ListOptions & HistogramOptions>,
): FeatureSpec {
  return {
    function: fn,
    field: typeof field === 'string' ? field : '',
    input: typeof field === 'string' ? '' : field.cel,
    window: options.window,
    filter: options.filter ?? '',
    ddof: options.ddof,
    quantile: options.quantile,
    halfLifeUs: options.halfLife === undefined ? 0n : BigInt(parseDurationUs(options.halfLife)),
    n: options.n ?? 0,
    edges: [...(options.edges ?? [])],
    description: options.description ?? '',
    numerator: undefined,
    denominator: undefined,
    of: definitions.AggregationFunction.UNSPECIFIED,
    offsetUs: 0n,
  };
}

function ratio(numerator: FeatureSpec, denominator: FeatureSpec, { description = '' }: Described = {}): FeatureSpec {
  const { window } = numerator;
  if (!window || !isDeepStrictEqual(window, denominator.window))
    throw new MeshError(
      'INVALID_DEFINITION',
      'a ratio is of two aggregations over the same window; give both one window',
      {
        function: 'ratio',
      },
    );
  return {
    ...featureSpec(definitions.AggregationFunction.RATIO, '', { window, description }),
    numerator: operand(numerator),
    denominator: operand(denominator),
  };
}

function operand({ function: fn, field, filter, ddof, quantile, input }: FeatureSpec): definitions.Operand {
  return { function: fn, field, filter, ddof, quantile, input };
}
