import { expect, test } from 'vitest';
import { checkView, type FeatureDefinition } from './index.ts';
import { viewOf } from './testing/index.ts';

const hour = { t: 'sliding', sizeUs: 3600e6, hopUs: 0 } as const;
const count = { function: 'count', field: '', filter: '', ddof: 1 } as const;
const problemsOf = (feature: Partial<FeatureDefinition>) =>
  checkView(viewOf([{ name: 'f', function: 'count', field: '', window: hour, filter: '', ddof: 1, ...feature }])).map(
    ({ path, problem }) => `${path}: ${problem}`,
  );

test.each<[string, Partial<FeatureDefinition>, string]>([
  [
    'a ratio without a denominator',
    { function: 'ratio', numerator: count },
    'f.denominator: a ratio needs what it divides by',
  ],
  [
    'a ratio with a field of its own',
    { function: 'ratio', numerator: count, denominator: count, field: 'd' },
    'f.field: a ratio has fields',
  ],
  [
    'a ratio of a list',
    { function: 'ratio', numerator: { ...count, function: 'last_n' }, denominator: count },
    'f.numerator.function: "last_n" cannot be calculated with',
  ],
  [
    'a ratio of an unknown field',
    { function: 'ratio', numerator: { ...count, function: 'sum', field: 'x' }, denominator: count },
    'f.numerator.field: source "world" has no field "x"',
  ],
  [
    'a ratio of a text',
    { function: 'ratio', numerator: { ...count, function: 'last', field: 's' }, denominator: count },
    'f.numerator.field: field "s" is STRING and numbers are calculated with',
  ],
  [
    'a ratio of a wrong expression',
    { function: 'ratio', numerator: { ...count, function: 'sum', input: 'd +' }, denominator: count },
    'f.input: input "d +"',
  ],
  [
    'a change over a lifetime',
    { function: 'change', of: 'count', offsetUs: 3600e6, window: { t: 'lifetime' } },
    'f.window: a lifetime has no window before it',
  ],
  [
    'a change from too long ago',
    { function: 'change', of: 'count', offsetUs: 9e12, window: { ...hour, hopUs: 60e6 } },
    'f.offset: a window of 1h at an offset of',
  ],
  ['a change without an offset', { function: 'change', of: 'count' }, 'f.offset: a change needs how long ago'],
  ['a z-score of a text', { function: 'zscore', field: 's' }, 'f.field: "zscore" needs a number'],
  ['an offset where none belongs', { offsetUs: 1 }, 'f.offset: "count" has no offset; leave it out, or use change'],
  [
    'a decayed sum without a half-life',
    { function: 'decayed_sum', field: 'd' },
    'f.half_life: "decayed_sum" needs a half-life, such as 1h',
  ],
  [
    'a list without a length',
    { function: 'last_n', field: 'd' },
    'f.n: "last_n" of n left out: write how many values at most, 1 to 1000',
  ],
  ['a list that is too long', { function: 'top_k', field: 'd', n: 1001 }, 'f.n: "top_k" of n 1001: write how many'],
  [
    'edges that do not ascend',
    { function: 'histogram', field: 'd', edges: [1, 1] },
    'f.edges: edges 1, 1 do not ascend',
  ],
  ['a session without a gap', { window: { t: 'session', gapUs: 0 } }, "f.window: a session's gap of 0"],
])('%s is refused with the remedy', (_, feature, problem) => {
  expect(problemsOf(feature)).toEqual([expect.stringContaining(problem)]);
});
