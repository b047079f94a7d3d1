import type { FeatureDefinition, FeatureType, FeatureValue, FieldType, Scalar } from '../types.ts';
import type { OracleValue } from './oracle-value.ts';

const relative = 1e-9;
/** What the buckets of a percentile promise. */
const sketchError = 1 / 129 + 1e-12;
/** Below it doubles have fewer bits of fraction than a bucket. */
const smallestNormal = 2 ** -1022;
/** Of the inputs of an aggregation, what may be lost of it. */
export const rounding = 1e-12;
const floatingFunctions: ReadonlySet<string> = new Set([
  'sum',
  'mean',
  'rate',
  'variance',
  'stddev',
  'decayed_sum',
  'decayed_count',
  'decayed_mean',
]);
/** Trends too are made of what may cancel. */
const composed: ReadonlySet<string> = new Set(['ratio', 'zscore', 'change', 'trend']);
/** Below this a double has lost digits to underflow. */
const smallest = 1e-290;

/**
 * True when a value is what the oracle says: exact, but for floating sums, means, variances and deviations, which agree to 1e-9 relative or to
 * the rounding errors of their inputs (for a variance relative to the square of the largest value).
 */
export function agrees(
  feature: FeatureDefinition,
  type: FeatureType,
  value: FeatureValue,
  { value: wanted, largest, count, slack = 0 }: OracleValue,
): boolean {
  if (slack === Number.POSITIVE_INFINITY) return true;
  if (value === null || wanted === null) return value === wanted;
  if (typeof value === 'object' || typeof wanted === 'object') return sameList(value, wanted);
  if (composed.has(feature.function)) return near(Number(value), Number(wanted), slack);
  return agreesScalar(feature, type, value, { value: wanted, largest, count });
}

function near(a: number, b: number, slack: number): boolean {
  return Math.abs(a - b) <= Math.max(smallest, slack, relative * Math.max(Math.abs(a), Math.abs(b)));
}

/** How far the value of a simple function may be off. */
export function toleranceOf(
  { function: fn }: FeatureDefinition,
  field: FieldType,
  { value, largest, count }: OracleValue,
): number {
  const size = Math.abs(Number(value));
  switch (fn) {
    case 'sum':
      return field === 'DOUBLE' ? Math.max(relative * size, rounding * largest * count) : 0;
    case 'mean':
    case 'rate':
      return Math.max(relative * size, rounding * largest * count);
    case 'variance':
      return Math.max(relative * size, rounding * largest * largest);
    case 'stddev': {
      const error = rounding * largest * largest;
      return size * size > error ? Math.max(relative * size, error / size) : Math.sqrt(2 * error);
    }
    case 'percentile':
      return sketchError * size;
    case 'entropy':
      return 1e-9;
    default:
      return 0;
  }
}

function sameList(value: FeatureValue, wanted: FeatureValue): boolean {
  if (typeof value !== 'object' || typeof wanted !== 'object' || value === null || wanted === null) return false;
  const same = (x: unknown, y: unknown) =>
    typeof x === 'bigint' || typeof y === 'bigint' ? BigInt(x as bigint) === BigInt(y as bigint) : x === y;
  return value.length === wanted.length && value.every((each, at) => same(each, wanted[at]));
}

function agreesScalar(
  feature: FeatureDefinition,
  type: FeatureType,
  value: NonNullable<Scalar>,
  expected: { readonly value: NonNullable<Scalar>; readonly largest: number; readonly count: number },
): boolean {
  if (feature.function === 'percentile') {
    const [a, b] = [Number(value), Number(expected.value)];
    return Math.abs(a - b) <= Math.max(sketchError * Math.abs(b), smallestNormal);
  }
  if (feature.function === 'entropy') return Math.abs(Number(value) - Number(expected.value)) <= 1e-9;
  const floating = type === 'DOUBLE' && floatingFunctions.has(feature.function);
  if (!floating) {
    return typeof value === 'string' || typeof value === 'boolean'
      ? value === expected.value
      : type === 'DOUBLE'
        ? value === expected.value || Object.is(-Number(value), Number(expected.value))
        : typeof expected.value !== 'string' && BigInt(value) === BigInt(expected.value);
  }
  const [a, b] = [Number(value), Number(expected.value)];
  if (Math.abs(a - b) <= Math.max(smallest, relative * Math.max(Math.abs(a), Math.abs(b)))) return true;
  const { largest, count } = expected;
  switch (feature.function) {
    // no rate divides by less than a second
    case 'rate':
    case 'sum':
    case 'decayed_sum':
    case 'decayed_count':
    case 'decayed_mean':
      return Math.abs(a - b) <= rounding * largest * count;
    case 'mean':
      return Math.abs(a - b) <= rounding * largest;
    case 'variance':
      return Math.abs(a - b) <= rounding * largest * largest;
    default:
      return Math.abs(a * a - b * b) <= Math.max(smallest, rounding * largest * largest);
  }
}
