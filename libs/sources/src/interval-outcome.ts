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
};

const alphaDefault = 0.01;
/** Fewer values than this say nothing about a distribution. */
const distributionValuesMin = 20;

/** What became of a check of an interval. An interval without data is never a pass. `came` says how rows come. */
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
