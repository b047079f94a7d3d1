import type { AggregationFunction, FeatureType, FeatureValue, Scalar } from '@millrace/features';

/** How a feature's values are compared: exactly, or with the tolerance of its function. */
export type Comparison = { readonly function: AggregationFunction; readonly type: FeatureType };

/** The size of what went into a value: sums and variances of large values carry rounding errors of that size. */
export type Scale = { readonly largest: number; readonly count: number };

const relative = 1e-9;
/** 2^-52 times a few thousand additions. */
const rounding = 1e-12;
/** Squares below this lose their digits: no double holds them in full. */
const smallest = 1e-290;

/**
 * True when a served value is what history says: exact for everything but floating sums, means, variances and deviations,
 * which agree to 1e-9 relative. Cancellation can leave less than that, so with a scale the rounding errors of the inputs are
 * allowed too: for a variance they are relative to the square of the values.
 */
export function sameValue(served: FeatureValue, expected: FeatureValue, how: Comparison, scale?: Scale): boolean {
  if (served === null || expected === null) return served === expected;
  if (typeof served === 'object' || typeof expected === 'object') return sameList(served, expected);
  if (!isFloating(how)) return exact(served) === exact(expected);
  const [a, b] = [Number(served), Number(expected)];
  if (Math.abs(a - b) <= relative * Math.max(Math.abs(a), Math.abs(b))) return true;
  const loose = looseness(how.function);
  if (loose > 0 && Math.abs(a - b) <= loose * Math.max(1, Math.abs(a), Math.abs(b))) return true;
  if (scale === undefined) return false;
  const { largest, count } = scale;
  switch (how.function) {
    // no rate divides by less than a second
    case 'rate':
    case 'sum':
    case 'decayed_sum':
    case 'decayed_count':
      return Math.abs(a - b) <= rounding * largest * Math.max(1, count);
    case 'change':
      return Math.abs(a - b) <= 2 * rounding * largest * Math.max(1, count);
    case 'mean':
    case 'decayed_mean':
      return Math.abs(a - b) <= rounding * largest;
    case 'variance':
      return Math.abs(a - b) <= Math.max(smallest, rounding * largest * largest);
    case 'stddev':
      return Math.abs(a * a - b * b) <= Math.max(smallest, rounding * largest * largest);
    default:
      return false;
  }
}

function sameList(served: NonNullable<FeatureValue>, expected: NonNullable<FeatureValue>): boolean {
  if (typeof served !== 'object' || typeof expected !== 'object' || served.length !== expected.length) return false;
  return served.every((value, at) => exact(value) === exact(expected[at] ?? ''));
}

/** What these divide by may be what is left of a cancellation: its rounding errors, relative to it, are many times theirs. */
function looseness(fn: Comparison['function']): number {
  return fn === 'ratio' || fn === 'zscore' || fn === 'trend' ? 1e-6 : 0;
}

/** True when the function's result depends on the order of floating additions. */
export function isFloating(how: Comparison): boolean {
  switch (how.function) {
    case 'mean':
    case 'entropy':
    case 'rate':
    case 'decayed_sum':
    case 'decayed_count':
    case 'decayed_mean':
    case 'trend':
    case 'ratio':
    case 'zscore':
    case 'change':
    case 'variance':
    case 'stddev':
      return true;
    case 'sum':
      return how.type === 'DOUBLE';
    default:
      return false;
  }
}

function exact(value: Exclude<Scalar, null>): string | number {
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value).toString() : value;
  return `"${value}"`;
}
