import type { FeatureDefinition, FieldType, Operand } from '../types.ts';
import { rounding, toleranceOf } from './agrees.ts';
import { exactSum } from './exact-sum.ts';
import type { OracleEvent, OracleValue } from './oracle-value.ts';

type Evaluate = (feature: FeatureDefinition) => OracleValue;
type TypeOf = (field: string) => FieldType;

/** ∞ where the error of what is divided by is as large as it. */
export function ratio(feature: FeatureDefinition, evaluate: Evaluate, typeOf: TypeOf): OracleValue {
  const [a, b] = [feature.numerator, feature.denominator].map((operand) => {
    const simple = { ...feature, ...(operand as Operand) };
    const found = evaluate(simple);
    return { ...found, tolerance: toleranceOf(simple, typeOf(simple.field), found) };
  });
  if (!a || !b || a.value === null || b.value === null) return { value: null, largest: 0, count: 0 };
  const [over, under] = [Number(a.value), Number(b.value)];
  const left = Math.abs(under) - b.tolerance;
  if (b.tolerance > 0 && left <= 0) return { value: 0, largest: 0, count: 0, slack: Number.POSITIVE_INFINITY };
  if (under === 0) return { value: null, largest: 0, count: 0 };
  const value = over / under;
  // what overflows, or may, has no value
  if (Math.abs(value) > Number.MAX_VALUE / 2)
    return { value: null, largest: 0, count: 0, slack: Number.POSITIVE_INFINITY };
  return { value, largest: 0, count: 0, slack: (a.tolerance + Math.abs(value) * b.tolerance) / left };
}

export function change(feature: FeatureDefinition, evaluate: Evaluate, typeOf: TypeOf): OracleValue {
  const { window, of = 'count', offsetUs: backUs = 0 } = feature;
  if (window.t === 'lifetime' || window.t === 'session') throw new Error('has no window before it');
  const [now, then] = [0, backUs].map((more) => {
    const simple = { ...feature, function: of, window: { ...window, offsetUs: (window.offsetUs ?? 0) + more } };
    const found = evaluate(simple);
    return { ...found, tolerance: toleranceOf(simple, typeOf(feature.field), found) };
  });
  if (!now || !then || now.value === null || then.value === null) return { value: null, largest: 0, count: 0 };
  const value = Number(now.value) - Number(then.value);
  return { value, largest: 0, count: 0, slack: now.tolerance + then.tolerance };
}

/** As far off as the mean and the deviation are; ∞ where the deviation is nearly nothing. */
export function zscore(feature: FeatureDefinition, evaluate: Evaluate): OracleValue {
  const of = (fn: FeatureDefinition['function']) => evaluate({ ...feature, function: fn });
  const [last, mean, deviation] = [of('last'), of('mean'), of('stddev')];
  const nothing = { value: null, largest: 0, count: 0 };
  if (last.value === null || deviation.value === null || of('min').value === of('max').value) return nothing;
  const [size, spread] = [mean.largest, Number(deviation.value)];
  if (spread * spread <= 2 * rounding * size * size) return { ...nothing, slack: Number.POSITIVE_INFINITY };
  const value = (Number(last.value) - Number(mean.value)) / spread;
  const [ofMean, ofSpread] = [rounding * size * Math.max(1, mean.count), (rounding * size * size) / spread];
  return { value, largest: 0, count: 0, slack: (2 * (ofMean + Math.abs(value) * ofSpread)) / spread };
}

/** The slope per second of the least-squares line. */
export function trend(held: readonly OracleEvent[], values: readonly number[]): OracleValue {
  const count = held.length;
  const firstUs = Math.min(...held.map(({ timeUs }) => timeUs));
  const times = held.map(({ timeUs }) => (timeUs - firstUs) / 1e6);
  if (new Set(times).size < 2) return { value: null, largest: 0, count };
  const [meanTime, meanValue] = [exactSum(times) / count, exactSum(values) / count];
  const squares = exactSum(times.map((time) => (time - meanTime) ** 2));
  const products = exactSum(times.map((time, at) => (time - meanTime) * ((values[at] ?? 0) - meanValue)));
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return { value: products / squares, largest, count, slack: (4 * rounding * largest) / Math.sqrt(squares / count) };
}
