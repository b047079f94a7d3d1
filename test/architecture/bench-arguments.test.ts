import { expect, test } from 'vitest';
import { parseBenchArguments, usageOf } from '../bench/bench.ts';

const usage = {
  cases: ['reads', 'push'],
  options: { rows: { default: 5, says: 'of a run' }, fast: { default: false, says: 'less' } },
} as const;

test('arguments of a benchmark that are unknown, or no numbers, are refused by name', () => {
  expect(() => parseBenchArguments(['--row', '3'], usage)).toThrow(/--row/);
  expect(() => parseBenchArguments(['read'], usage)).toThrow('unknown argument "read"; use some of: reads, push');
  expect(() => parseBenchArguments(['reads'], {})).toThrow('unknown argument "reads"');
  for (const wrong of ['many', '0', ''])
    expect(() => parseBenchArguments([`--rows=${wrong}`], usage)).toThrow(/--rows/);
});

test('what is given is what the benchmark gets, and the rest is as its usage says', () => {
  const given = parseBenchArguments(['push', '--rows', '9', '--json'], usage);
  expect([given.only, given.number('rows'), given.flag('fast'), given.json, given.help]).toEqual([
    ['push'],
    9,
    false,
    true,
    false,
  ]);
  expect(parseBenchArguments(['-h'], {}).help).toBe(true);
  expect(usageOf('x', usage)).toMatch(/reads push.*--rows 5: of a run.*--fast: less/s);
});
