import { ksCritical, ksStatistic, psi, psiCritical } from '@millrace/stats';
import type { Check } from './severity.ts';

export type Outcome = 'PASS' | 'FAIL' | 'NO_DATA' | 'INSUFFICIENT_DATA';

export type IntervalOutcome = {
  readonly outcome: Outcome;
  readonly observed?: number | undefined;
  readonly bound: string;
  readonly rows: number;
  readonly message: string;
};

/** What history has of an interval, as far as a check asks for it. */
export type Measured = {
  readonly rows: number;
  readonly values?: number;
  readonly distinct?: number;
  readonly previousRows?: number;
  /** Of the whole table, not only the interval; undefined when it is empty. */
  readonly newestUs?: number | undefined;
  readonly binCounts?: readonly number[];
  readonly sample?: readonly number[];
  /** The quantile that was asked for, instead of the values. */
  readonly quantile?: number;
};

const alphaDefault = 0.01;
/** Fewer values than this say nothing about a distribution. */
const distributionValuesMin = 20;

/** What became of a check of an interval, or of a batch. One without data is never a pass. `came` says how rows come. */
export function intervalOutcome(
  check: Check,
  measured: Measured,
  endUs: number,
  came: 'event was accepted' | 'row was written' = 'event was accepted',
): IntervalOutcome {
  const { rows } = measured;
  if (check.$case === 'freshness') return freshness(Number(check.value.maxAgeUs), measured, endUs, came);
  if (rows === 0) return { outcome: 'NO_DATA', bound: '', rows, message: `no ${came} in the interval` };
  switch (check.$case) {
    case 'completeness':
      return share('has a value', measured.values ?? 0, rows, check.value, rows);
    case 'distinctness':
      if (!measured.values)
        return { outcome: 'NO_DATA', bound: '', rows, message: 'nothing in the interval has a value' };
      return share('is distinct', measured.distinct ?? 0, measured.values, check.value, rows);
    case 'volume':
      return volume(check.value, measured);
    case 'distribution':
      return distribution(check.value, measured);
    case 'quantile':
      return quantile(check.value, measured);
    default:
      throw new TypeError(`${check.$case} is no check of an interval`);
  }
}

function freshness(maxAgeUs: number, { rows, newestUs }: Measured, endUs: number, came: string): IntervalOutcome {
  const bound = `at most ${maxAgeUs / 1e6} s`;
  if (newestUs === undefined) return { outcome: 'NO_DATA', bound, rows, message: `no ${came} yet` };
  const ageUs = Math.max(0, endUs - newestUs);
  const message = `the newest event is of ${new Date(newestUs / 1000).toISOString()}, ${ageUs / 1e6} s before the interval's end`;
  return { outcome: ageUs <= maxAgeUs ? 'PASS' : 'FAIL', observed: ageUs, bound, rows, message };
}

function share(
  what: string,
  part: number,
  whole: number,
  { field, minRate }: { readonly field: string; readonly minRate: number },
  rows: number,
): IntervalOutcome {
  const observed = part / whole;
  return {
    outcome: observed >= minRate ? 'PASS' : 'FAIL',
    observed,
    bound: `at least ${minRate}`,
    rows,
    message: `${part} of ${whole} ${what} in field "${field}"`,
  };
}

type Volume = Extract<Check, { readonly $case: 'volume' }>['value'];

function volume(
  { minRows, maxRows, minRatio, maxRatio }: Volume,
  { rows, previousRows = 0 }: Measured,
): IntervalOutcome {
  const bounds = [
    minRows === undefined ? '' : `at least ${minRows} rows`,
    maxRows === undefined ? '' : `at most ${maxRows} rows`,
    minRatio === undefined ? '' : `at least ${minRatio} of the previous interval`,
    maxRatio === undefined ? '' : `at most ${maxRatio} times the previous interval`,
  ].filter((text) => text !== '');
  const ratio = rows / previousRows;
  const asksRatio = minRatio !== undefined || maxRatio !== undefined;
  const failed =
    rows < (minRows ?? 0) ||
    rows > (maxRows ?? Number.POSITIVE_INFINITY) ||
    (previousRows > 0 && (ratio < (minRatio ?? 0) || ratio > (maxRatio ?? Number.POSITIVE_INFINITY)));
  const message = asksRatio ? `${rows} rows after ${previousRows}` : `${rows} rows`;
  const outcome = failed ? 'FAIL' : asksRatio && previousRows === 0 ? 'INSUFFICIENT_DATA' : 'PASS';
  return { outcome, observed: rows, bound: bounds.join(', '), rows, message };
}

type Distribution = Extract<Check, { readonly $case: 'distribution' }>['value'];

function distribution(check: Distribution, { rows, binCounts, sample }: Measured): IntervalOutcome {
  const alpha = check.alpha || alphaDefault;
  const counts = binCounts ?? [];
  const size = sample?.length ?? counts.reduce((sum, count) => sum + count, 0);
  if (size < distributionValuesMin) {
    const message = `${size} values; at least ${distributionValuesMin} are needed`;
    return { outcome: size === 0 ? 'NO_DATA' : 'INSUFFICIENT_DATA', bound: '', rows, message };
  }
  const reference = sample === undefined ? check.counts.reduce((sum, count) => sum + count, 0) : check.values.length;
  const observed = sample === undefined ? psi(check.counts, counts) : ksStatistic(check.values, sample);
  const critical =
    sample === undefined ? psiCritical(alpha, reference, size, counts.length) : ksCritical(alpha, reference, size);
  const most = check.max ?? critical;
  const name = sample === undefined ? 'PSI' : 'KS distance';
  return {
    outcome: observed <= most ? 'PASS' : 'FAIL',
    observed,
    bound: check.max === undefined ? `at most ${most}, the critical value at alpha ${alpha}` : `at most ${most}`,
    rows,
    message: `${name} ${observed} of ${size} values of field "${check.field}" against ${reference}; critical at alpha ${alpha}: ${critical}`,
  };
}

type Quantile = Extract<Check, { readonly $case: 'quantile' }>['value'];

function quantile({ field, q, min, max }: Quantile, measured: Measured): IntervalOutcome {
  const { rows } = measured;
  const observed = measured.quantile ?? quantileOf(measured.sample ?? [], q);
  if (Number.isNaN(observed))
    return { outcome: 'NO_DATA', bound: '', rows, message: `nothing has a value in field "${field}"` };
  const bound = [min === undefined ? '' : `at least ${min}`, max === undefined ? '' : `at most ${max}`];
  return {
    outcome: observed >= (min ?? observed) && observed <= (max ?? observed) ? 'PASS' : 'FAIL',
    observed,
    bound: bound.filter((text) => text !== '').join(', '),
    rows,
    message: `the ${q} quantile of field "${field}" is ${observed}`,
  };
}

/** By linear interpolation, as ClickHouse's `quantileExactInclusive` and numpy's default; NaN of nothing. */
function quantileOf(values: readonly number[], q: number): number {
  const sorted = Float64Array.from(values).sort();
  const at = q * (sorted.length - 1);
  const [low = Number.NaN, high = low] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low === high ? low : low + (high - low) * (at - Math.floor(at));
}
