import { expectations } from '@millrace/contracts';
import { expect, test } from 'vitest';
import { intervalOutcome, type Measured } from './interval-outcome.ts';
import type { Check } from './severity.ts';

const check = (part: Parameters<typeof expectations.Expectation.fromPartial>[0]['check']): Check => {
  const made = expectations.Expectation.fromPartial({ check: part }).check;
  if (made === undefined) throw new Error('no check');
  return made;
};
const completeness = check({ $case: 'completeness', value: { field: 'x', minRate: 0.9 } });
const distinct = check({ $case: 'distinctness', value: { field: 'x', minRate: 0.5 } });
const rows = check({ $case: 'volume', value: { minRows: 10n, maxRows: 20n } });
const ratio = check({ $case: 'volume', value: { minRatio: 0.5, maxRatio: 2 } });
const fresh = check({ $case: 'freshness', value: { maxAgeUs: 10n } });
const psi = check({ $case: 'distribution', value: { field: 'x', edges: [0], counts: [500, 500] } });
const ks = check({
  $case: 'distribution',
  value: { field: 'x', metric: 2, values: Array.from({ length: 100 }, (_, at) => at) },
});
const median = check({ $case: 'quantile', value: { field: 'x', q: 0.5, min: 10, max: 20 } });
const sample = (from: number, size = 100) => Array.from({ length: size }, (_, at) => from + at);

const cases: readonly [name: string, check: Check, measured: Measured, outcome: string][] = [
  ['enough values', completeness, { rows: 10, values: 9 }, 'PASS'],
  ['too few values', completeness, { rows: 100, values: 89 }, 'FAIL'],
  ['no rows, for completeness', completeness, { rows: 0, values: 0 }, 'NO_DATA'],
  ['distinct values', distinct, { rows: 4, values: 4, distinct: 2 }, 'PASS'],
  ['repeated values', distinct, { rows: 4, values: 4, distinct: 1 }, 'FAIL'],
  ['rows without a value', distinct, { rows: 4, values: 0, distinct: 0 }, 'NO_DATA'],
  ['rows at the lower bound', rows, { rows: 10 }, 'PASS'],
  ['too few rows', rows, { rows: 9 }, 'FAIL'],
  ['too many rows', rows, { rows: 21 }, 'FAIL'],
  ['no rows, for volume', check({ $case: 'volume', value: { maxRows: 5n } }), { rows: 0 }, 'NO_DATA'],
  ['as many rows as before', ratio, { rows: 10, previousRows: 10 }, 'PASS'],
  ['a fall of rows', ratio, { rows: 4, previousRows: 10 }, 'FAIL'],
  ['a rise of rows', ratio, { rows: 21, previousRows: 10 }, 'FAIL'],
  ['nothing to compare with', ratio, { rows: 10, previousRows: 0 }, 'INSUFFICIENT_DATA'],
  ['a fresh event', fresh, { rows: 0, newestUs: 90 }, 'PASS'],
  ['an old event', fresh, { rows: 5, newestUs: 89 }, 'FAIL'],
  ['no event ever', fresh, { rows: 0, newestUs: undefined }, 'NO_DATA'],
  ['the bins of the reference', psi, { rows: 100, binCounts: [49, 51] }, 'PASS'],
  ['other bins', psi, { rows: 100, binCounts: [80, 20] }, 'FAIL'],
  ['too few values for a distribution', psi, { rows: 19, binCounts: [10, 9] }, 'INSUFFICIENT_DATA'],
  ['the values of the reference', ks, { rows: 100, sample: sample(0) }, 'PASS'],
  ['values beside the reference', ks, { rows: 100, sample: sample(50) }, 'FAIL'],
  ['a median within', median, { rows: 4, sample: [0, 10, 10, 99] }, 'PASS'],
  ['a median between two values', median, { rows: 4, sample: [0, 9, 10, 99] }, 'FAIL'],
  ['a median above, as measured elsewhere', median, { rows: 4, quantile: 20.5 }, 'FAIL'],
  ['a median of nothing', median, { rows: 4, sample: [] }, 'NO_DATA'],
  ['no values for a distribution', ks, { rows: 3, sample: [] }, 'NO_DATA'],
];

test.each(cases)('%s', (_name, one, measured, outcome) => {
  expect(intervalOutcome(one, measured, 100).outcome).toBe(outcome);
});
