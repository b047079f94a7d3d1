import fc from 'fast-check';
import type {
  AggregationFunction,
  FeatureDefinition,
  FeatureValue,
  Scalar,
  SourceField,
  ViewDefinition,
  WindowSpec,
} from '../types.ts';
import type { OracleFilters } from './oracle.ts';
import type { OracleEvent } from './oracle-value.ts';

/** Random views and events for property tests, here and against real stores. */
export const worldFields: readonly SourceField[] = [
  { name: 'key', type: 'STRING', nullable: false },
  { name: 'd', type: 'DOUBLE', nullable: true },
  { name: 'i', type: 'INT64', nullable: true },
  { name: 'b', type: 'BOOL', nullable: true },
  { name: 's', type: 'STRING', nullable: true },
  { name: 'at', type: 'TIMESTAMP', nullable: true },
  { name: 'v', type: 'VECTOR(3)', nullable: true },
];

const [s, min, h] = [1e6, 60e6, 3600e6];
export const worldStartUs = 1_000_000 * h;

export const worldWindows: readonly WindowSpec[] = [
  { t: 'sliding', sizeUs: min, hopUs: 0 },
  { t: 'sliding', sizeUs: 90 * s, hopUs: min },
  { t: 'sliding', sizeUs: 10 * min, hopUs: min },
  { t: 'sliding', sizeUs: h, hopUs: 0 },
  { t: 'sliding', sizeUs: 3 * h, hopUs: 5 * min },
  { t: 'sliding', sizeUs: 10 * min, hopUs: min, offsetUs: 5 * min },
  { t: 'sliding', sizeUs: 90 * s, hopUs: min, offsetUs: min },
  { t: 'tumbling', sizeUs: 10 * min, offsetUs: 30 * min },
  { t: 'tumbling', sizeUs: 10 * min },
  { t: 'tumbling', sizeUs: 7 * s },
  { t: 'lifetime' },
  { t: 'session', gapUs: 10 * min },
  { t: 'session', gapUs: 90 * s },
];

/** One window of each kind: what takes long is asked of these. */
export const worldWindowKinds: readonly WindowSpec[] = [
  { t: 'sliding', sizeUs: 10 * min, hopUs: min },
  { t: 'sliding', sizeUs: 90 * s, hopUs: min, offsetUs: min },
  { t: 'tumbling', sizeUs: 10 * min },
  { t: 'lifetime' },
  { t: 'session', gapUs: 5 * min },
];

/** The filters of random views, in CEL and in JavaScript. */
export const worldFilters: OracleFilters = {
  'd > 0.5': ({ d }) => d != null && Number(d) > 0.5,
  'i % 2 == 0 || b': ({ i, b }) => (i != null && BigInt(i as bigint) % 2n === 0n) || b === true,
  's in ["a", "\u00e9", "it\'s"] && !b': ({ s, b }) => ['a', '\u00e9', "it's"].includes(s as string) && b === false,
  'd == null || i / i > 0': ({ d, i }) => d == null || (i != null && BigInt(i as bigint) !== 0n),
  's.startsWith("a") && at != null': ({ s, at }) => typeof s === 'string' && s.startsWith('a') && at != null,
};

const texts = ['a', 'ab', '', '\u00e9', "it's", '\uffee', '\u{1F600}', 'back\\slash'];

const allowed: Readonly<Record<AggregationFunction, readonly string[]>> = {
  count: ['', 'd', 'i', 'b', 's', 'at', 'v'],
  sum: ['d', 'i', 'b'],
  mean: ['d', 'i', 'b'],
  rate: ['', 'd', 'i', 'b'],
  min: ['d', 'i', 'b', 's', 'at'],
  max: ['d', 'i', 'b', 's', 'at'],
  variance: ['d', 'i', 'b'],
  stddev: ['d', 'i', 'b'],
  first: ['d', 'i', 'b', 's', 'at', 'v'],
  last: ['d', 'i', 'b', 's', 'at', 'v'],
  distinct: ['d', 'i', 'b', 's', 'at'],
  percentile: ['d', 'i'],
  entropy: ['d', 'i', 'b', 's', 'at'],
  last_n: ['d', 'i', 'b', 's', 'at'],
  first_n: ['d', 'i', 'b', 's', 'at'],
  last_distinct_n: ['d', 'i', 'b', 's', 'at'],
  first_distinct_n: ['d', 'i', 'b', 's', 'at'],
  top_k: ['d', 'i', 'b', 's', 'at'],
  histogram: ['d', 'i'],
  trend: ['d', 'i', 'b'],
  zscore: ['d', 'i', 'b'],
  ratio: [''],
  change: ['', 'd', 'i', 'b'],
  age: ['', 'd', 'i', 'b', 's', 'at', 'v'],
  decayed_sum: ['d', 'i', 'b'],
  decayed_count: ['', 'd', 's'],
  decayed_mean: ['d', 'i', 'b'],
};

const quantiles = [0, 0.5, 0.95, 1];
const edges = [[0], [-3.25, 0, 0.5, 1e5], [1, 2, 3, 4, 2 ** 53]];
const side = (fn: AggregationFunction, field: string, filter = '', ddof = 1) => ({ function: fn, field, filter, ddof });
const ratios = [
  { numerator: side('sum', 'd'), denominator: side('count', '') },
  { numerator: side('count', '', 'd > 0.5'), denominator: side('count', 'd') },
  { numerator: side('mean', 'i'), denominator: side('stddev', 'd', '', 0) },
  { numerator: side('max', 'd'), denominator: side('min', 'd', 'i % 2 == 0 || b') },
  { numerator: side('last', 'i'), denominator: side('sum', 'i') },
  { numerator: side('distinct', 's'), denominator: side('entropy', 's') },
];
const halfLives = [s, 90 * s, h, 400 * h];

/** One of several values for each parameter that the function has. */
function parametersOf(
  fn: AggregationFunction,
  at: number,
  field: string,
  window: WindowSpec,
): Partial<FeatureDefinition> {
  const pick = <T>(values: readonly T[]) => values[at % values.length] as T;
  if (fn === 'percentile') return { quantile: pick(quantiles) };
  if (fn.startsWith('decayed')) return { halfLifeUs: pick(halfLives) };
  if (fn === 'histogram') return { edges: pick(edges) };
  if (fn === 'ratio') return { filter: '', ...pick(ratios) };
  if (fn === 'change') {
    const sizeUs = 'sizeUs' in window ? window.sizeUs : h;
    // whole hops, few enough
    const offsetUs = sizeUs === 90 * s ? min : Math.min(sizeUs, h);
    return {
      offsetUs,
      of: field === '' ? pick(['count', 'rate']) : pick(['sum', 'mean', 'stddev', 'count', 'distinct']),
    };
  }
  return fn === 'top_k' || fn.endsWith('_n') ? { n: pick([1, 3, 1000]) } : {};
}

/** Lifetimes and sessions have no rate, and nothing before them. */
function windowsOf(fn: string, windows: readonly WindowSpec[]): WindowSpec[] {
  return windows.filter(({ t }) => (fn !== 'rate' && fn !== 'change') || (t !== 'lifetime' && t !== 'session'));
}

const feature: fc.Arbitrary<Omit<FeatureDefinition, 'name'>> = fc
  .constantFrom(...(Object.keys(allowed) as AggregationFunction[]))
  .chain((fn) =>
    fc
      .record({
        field: fc.constantFrom(...allowed[fn]),
        window: fc.constantFrom(...windowsOf(fn, worldWindows)),
        filter: fc.oneof(fc.constant(''), fc.constantFrom(...Object.keys(worldFilters))),
        ddof: fc.constantFrom(0, 1, 2),
        parameters: fc.nat(11),
      })
      .map(({ parameters, ...rest }) => ({
        function: fn,
        ...rest,
        ...parametersOf(fn, parameters, rest.field, rest.window),
      })),
  );

export const worldViews: fc.Arbitrary<ViewDefinition> = fc
  .array(feature, { minLength: 1, maxLength: 12 })
  .map((features) => viewOf(features.map((each, at) => ({ ...each, name: `f${at}` }))));

export function viewOf(features: readonly FeatureDefinition[]): ViewDefinition {
  return {
    name: 'world',
    version: '0123456789ab',
    entity: 'thing',
    joinKeys: [{ name: 'key', type: 'STRING', field: 'key' }],
    source: 'world',
    fields: worldFields,
    features,
  };
}

/** Every function on every field that it takes, over every window, with and without a filter. */
export function everyFeature(windows: readonly WindowSpec[] = worldWindows): FeatureDefinition[] {
  const filters = ['', ...Object.keys(worldFilters)];
  return Object.entries(allowed).flatMap(([fn, fields]) =>
    fields.flatMap((field) =>
      windowsOf(fn, windows).map((window, at) => ({
        name: `${fn}_${field}_${at}`,
        function: fn as AggregationFunction,
        field,
        window,
        filter: filters[(at + fn.length + field.length) % filters.length] ?? '',
        ddof: at % 3,
        ...parametersOf(fn as AggregationFunction, at, field, window),
      })),
    ),
  );
}

/** The features of `everyFeature` in views of at most 250. */
export function everyView(windows: readonly WindowSpec[] = worldWindows): ViewDefinition[] {
  const features = everyFeature(windows);
  return Array.from({ length: Math.ceil(features.length / 250) }, (_, at) =>
    viewOf(features.slice(250 * at, 250 * (at + 1))),
  );
}

const orNull = <T extends FeatureValue>(values: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.oneof({ weight: 5, arbitrary: values }, { weight: 1, arbitrary: fc.constant(null) });

const whole = (value: bigint): Scalar => (Number.isSafeInteger(Number(value)) ? Number(value) : value);

const fieldValues: fc.Arbitrary<Readonly<Record<string, FeatureValue>>> = fc.record({
  d: orNull(
    fc.oneof(
      fc.constantFrom(0, 1, 0.1, 0.5, -3.25, 1e9 + 0.5),
      fc.double({ min: -1e6, max: 1e6, noNaN: true }).map((value) => value + 0),
    ),
  ),
  i: orNull(
    fc.oneof(
      fc.integer({ min: -5, max: 5 }),
      fc.bigInt({ min: -(2n ** 55n), max: 2n ** 55n }).map(whole),
      fc.constantFrom<Scalar>(2 ** 32, -(2 ** 32), 2n ** 63n - 1n, -(2n ** 63n), 2 ** 53 - 1),
    ),
  ),
  b: orNull(fc.boolean()),
  s: orNull(fc.constantFrom(...texts)),
  at: orNull(fc.integer({ min: 0, max: 2 ** 50 })),
  v: orNull(fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 3, maxLength: 3 })),
});

/** Offsets that fall on boundaries, together, and anywhere. */
const offsets: fc.Arbitrary<number> = fc.oneof(
  fc.integer({ min: 0, max: 30 }).map((n) => n * 10 * s),
  fc.integer({ min: 0, max: 200 }).map((n) => n * min - 1),
  fc.integer({ min: 0, max: 4 * h }),
);

export type WorldEvent = Omit<OracleEvent, 'seq' | 'index'>;

/** Events of one entity in the order in which they come: late, early, at the same instant. */
export const worldEvents: fc.Arbitrary<WorldEvent[]> = fc.array(
  fc.record({ timeUs: offsets.map((offset) => worldStartUs + offset), fields: fieldValues }),
  { minLength: 1, maxLength: 70 },
);

/** Times to read at, around events and far from them. */
export const worldReadTimes: fc.Arbitrary<number[]> = fc.array(
  fc.oneof(
    offsets.map((offset) => worldStartUs + offset),
    fc.integer({ min: -h, max: 40 * h }).map((offset) => worldStartUs + offset),
  ),
  { minLength: 4, maxLength: 12 },
);
