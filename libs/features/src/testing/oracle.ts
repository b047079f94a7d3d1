import type { FeatureDefinition, FeatureValue, FieldType, List, Scalar, ViewDefinition, WindowSpec } from '../types.ts';
import { isVectorType } from '../vectors.ts';
import { change, ratio, trend, zscore } from './composed.ts';
import { exactSum } from './exact-sum.ts';
import type { OracleEvent, OracleValue } from './oracle-value.ts';

/** What a filter's text means, said a second time in JavaScript. */
export type OracleFilters = Readonly<Record<string, (fields: OracleEvent['fields']) => boolean>>;

/**
 * The values of a view for one entity by brute force over its events, as of a time: what windows and aggregations mean, with nothing of how
 * they are kept. Shares no code with the state, the rows or the SQL.
 */
export function oracleValues(
  view: ViewDefinition,
  events: readonly OracleEvent[],
  asOfUs: number,
  filters: OracleFilters = {},
): OracleValue[] {
  const evaluate = (feature: FeatureDefinition): OracleValue => {
    if (feature.function === 'ratio') return ratio(feature, evaluate, typeOf);
    if (feature.function === 'zscore') return zscore(feature, evaluate);
    if (feature.function === 'change') return change(feature, evaluate, typeOf);
    const [startUs, endUs] =
      feature.window.t === 'session'
        ? sessionOf(feature.window.gapUs, events, asOfUs)
        : rangeOf(feature.window, asOfUs);
    const passes = feature.filter === '' ? () => true : filters[feature.filter];
    if (!passes) throw new Error(`the oracle was not told what filter "${feature.filter}" means`);
    const seen = events.filter(({ timeUs, fields }) => timeUs >= startUs && timeUs < endUs && passes(fields));
    return aggregate(feature, typeOf(feature.field), seen, asOfUs);
  };
  // of vectors, as of texts, nothing is calculated
  const typeOf = (field: string): FieldType => {
    const type = view.fields.find(({ name }) => name === field)?.type ?? 'INT64';
    return isVectorType(type) ? 'STRING' : type;
  };
  return view.features.map(evaluate);
}

const defaultHops: readonly (readonly [number, number])[] = [
  [86_400, 12 * 86_400],
  [21_600, 12 * 21_600],
  [3_600, 12 * 3_600],
  [900, 12 * 900],
  [300, 12 * 300],
  [60, 12 * 60],
  [30, 12 * 30],
  [5, 12 * 5],
];

/** From the last event before a time back to the first larger gap; nothing when the last is farther away than the gap. */
function sessionOf(gapUs: number, events: readonly OracleEvent[], asOfUs: number): [startUs: number, endUs: number] {
  const times = events.map(({ timeUs }) => timeUs).filter((timeUs) => timeUs < asOfUs);
  times.sort((x, y) => y - x);
  let startUs = asOfUs;
  for (const timeUs of times) {
    if (startUs - timeUs > gapUs) break;
    startUs = timeUs;
  }
  return [startUs, asOfUs];
}

function rangeOf(
  window: Exclude<WindowSpec, { readonly t: 'session' }>,
  asOfUs: number,
): [startUs: number, endUs: number] {
  if (window.t === 'lifetime') return [Number.NEGATIVE_INFINITY, asOfUs];
  const [defaultHop] = defaultHops.find(([, size]) => window.sizeUs >= size * 1e6) ?? [1];
  const hopUs = window.t === 'tumbling' ? window.sizeUs : window.hopUs || defaultHop * 1e6;
  const floor = (t: number) => Math.floor(t / hopUs) * hopUs;
  const past = asOfUs - (window.offsetUs ?? 0);
  return [floor(past - window.sizeUs), window.offsetUs ? floor(past) : asOfUs];
}

function aggregate(
  feature: FeatureDefinition,
  type: FieldType,
  seen: readonly OracleEvent[],
  asOfUs: number,
): OracleValue {
  const held = seen.filter(({ fields }) => feature.field === '' || (fields[feature.field] ?? null) !== null);
  const values = held.map(({ fields }) => (feature.field === '' ? 1 : (fields[feature.field] as NonNullable<Scalar>)));
  const count = values.length;
  const largest =
    type === 'STRING' ? 0 : values.reduce<number>((most, value) => Math.max(most, Math.abs(Number(value))), 0);
  const ordered = held.toSorted((x, y) => x.timeUs - y.timeUs || x.seq - y.seq || x.index - y.index);
  const valueAt = (at: number) => ordered.at(at)?.fields[feature.field] ?? null;
  const valueIn = ({ fields }: OracleEvent) => fields[feature.field] as NonNullable<Scalar>;
  const result = (value: FeatureValue) => ({ value: count === 0 ? null : value, largest, count });
  const list = (value: List) => ({ value, largest, count });
  switch (feature.function) {
    case 'count':
      return { value: count, largest: 0, count };
    case 'sum':
      return result(type === 'DOUBLE' ? exactSum(values) : narrow(BigInt.asIntN(64, wholeSum(values))));
    case 'mean':
      return result((type === 'DOUBLE' ? exactSum(values) : Number(wholeSum(values))) / count);
    case 'rate': {
      const total = type === 'DOUBLE' ? exactSum(values) : Number(wholeSum(values));
      return { value: total / secondsOf(feature.window), largest, count };
    }
    case 'min':
      return result(values.toSorted(compare)[0] ?? null);
    case 'max':
      return result(values.toSorted(compare).at(-1) ?? null);
    case 'variance':
    case 'stddev': {
      if (count <= feature.ddof) return { value: null, largest, count };
      const mean = exactSum(values) / count;
      const variance = exactSum(values.map((value) => (Number(value) - mean) ** 2)) / (count - feature.ddof);
      return result(feature.function === 'variance' ? variance : Math.sqrt(variance));
    }
    case 'first':
      return result(valueAt(0));
    case 'last':
      return result(valueAt(-1));
    case 'distinct':
      return { value: new Set(values).size, largest, count };
    case 'percentile':
      return result(values.toSorted(compare)[Math.floor((feature.quantile ?? 0.5) * (count - 1))] ?? null);
    case 'entropy': {
      const frequencies = [...Map.groupBy(values, (value) => value).values()].map(({ length }) => length / count);
      return result(exactSum(frequencies.map((share) => share * Math.log2(1 / share))));
    }
    case 'last_n':
      return list(ordered.toReversed().slice(0, feature.n).map(valueIn));
    case 'first_n':
      return list(ordered.slice(0, feature.n).map(valueIn));
    case 'last_distinct_n':
      return list([...new Set(ordered.toReversed().map(valueIn))].slice(0, feature.n));
    case 'first_distinct_n':
      return list([...new Set(ordered.map(valueIn))].slice(0, feature.n));
    case 'top_k': {
      const groups = [...Map.groupBy(values, (value) => value)];
      groups.sort(([x, xs], [y, ys]) => ys.length - xs.length || compare(x, y));
      return list(groups.slice(0, feature.n).map(([value]) => value));
    }
    case 'histogram': {
      const edges = [Number.NEGATIVE_INFINITY, ...(feature.edges ?? []), Number.POSITIVE_INFINITY];
      const inBucket = (i: number) =>
        values.filter((value) => Number(value) >= (edges[i] ?? 0) && Number(value) < (edges[i + 1] ?? 0));
      return list(edges.slice(1).map((_, i) => inBucket(i).length));
    }
    case 'age':
      return result((asOfUs - (ordered.at(-1)?.timeUs ?? 0)) / 1e6);
    case 'decayed_sum':
    case 'decayed_count':
    case 'decayed_mean':
      return decayed(feature, held, values.map(Number), asOfUs);
    case 'trend':
      return trend(held, values.map(Number));
    case 'ratio':
    case 'zscore':
    case 'change':
      throw new Error(`"${feature.function}" is made of others`);
    default:
      return feature.function satisfies never;
  }
}

function decayed(
  feature: FeatureDefinition,
  held: readonly OracleEvent[],
  values: readonly number[],
  asOfUs: number,
): OracleValue {
  const count = held.length;
  const isMean = feature.function === 'decayed_mean';
  // a mean is the same as of any time: as of its newest event no weight is lost
  const untilUs = isMean ? held.reduce((newest, { timeUs }) => Math.max(newest, timeUs), 0) : asOfUs;
  const weights = held.map(({ timeUs }) => 0.5 ** ((untilUs - timeUs) / (feature.halfLifeUs ?? 0)));
  if (feature.function === 'decayed_count') return { value: exactSum(weights), largest: 1, count };
  const weighed = values.map((value, at) => value * (weights[at] ?? 0));
  const largest = weighed.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (count === 0) return { value: null, largest, count };
  return { value: isMean ? exactSum(weighed) / exactSum(weights) : exactSum(weighed), largest, count };
}

function secondsOf(window: WindowSpec): number {
  return 'sizeUs' in window ? window.sizeUs / 1e6 : Number.NaN;
}

function wholeSum(values: readonly NonNullable<Scalar>[]): bigint {
  return values.reduce<bigint>((sum, value) => sum + BigInt(value), 0n);
}

function narrow(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** Texts by code points, which is the order of their UTF-8 bytes. */
function compare(x: NonNullable<Scalar>, y: NonNullable<Scalar>): number {
  if (typeof x === 'string' && typeof y === 'string') return Buffer.compare(Buffer.from(x), Buffer.from(y));
  return x < y ? -1 : x > y ? 1 : 0;
}
