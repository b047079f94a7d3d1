import { expect, test } from 'vitest';
import { type SamplingOptions, type Score, sampleShapley } from './sampled.ts';

const options: SamplingOptions = { pairs: 400, seed: 3, rowsPerCall: 64 };
const background = Array.from({ length: 8 }, (_, at) => [at % 2, at % 4, Math.floor(at / 4), 1]);
const row = [2, -1, 3, 0.5];

/** An interaction of three features and one alone; the second output is linear. */
const score: Score = async (rows) =>
  rows.map(([a = 0, b = 0, c = 0, d = 0]) => [a * b * c + d * d, 2 * a - b + 0.5 * c + 3 * d]);

/** Shapley over all subsets, with the background's rows for what is not in them. */
async function exact(output: number): Promise<number[]> {
  const worth = async (subset: number) => {
    const rows = background.map((other) =>
      Float64Array.from(other, (value, at) => ((subset >> at) & 1 ? (row[at] ?? 0) : value)),
    );
    const scores = await score(rows);
    return scores.reduce((sum, answer) => sum + (answer[output] ?? 0), 0) / rows.length;
  };
  const weights = [1 / 4, 1 / 12, 1 / 12, 1 / 4];
  return Promise.all(
    row.map(async (_, feature) => {
      let sum = 0;
      for (let subset = 0; subset < 16; subset++) {
        if ((subset >> feature) & 1) continue;
        const size = [...subset.toString(2)].filter((bit) => bit === '1').length;
        sum += (weights[size] ?? 0) * ((await worth(subset | (1 << feature))) - (await worth(subset)));
      }
      return sum;
    }),
  );
}

test('sampled values are within their standard errors of the exact ones, and add up', async () => {
  const sampled = await sampleShapley(score, row, background, options);
  expect(sampled.length).toBe(2);
  for (const [output, { values, standardErrors, residual }] of sampled.entries()) {
    const expected = await exact(output);
    for (const [at, value] of values.entries())
      expect(Math.abs(value - (expected[at] ?? 0))).toBeLessThanOrEqual(4 * (standardErrors[at] ?? 0) + 1e-12);
    expect(Math.abs(residual)).toBeLessThan(1e-9);
  }
});

test('the stated standard error is the spread of the values over seeds', async () => {
  const runs = await Promise.all(
    Array.from({ length: 200 }, (_, seed) => sampleShapley(score, row, background, { ...options, pairs: 20, seed })),
  );
  const of = runs.map(([first]) => ({ value: first?.values[0] ?? 0, error: first?.standardErrors[0] ?? 0 }));
  const mean = of.reduce((sum, { value }) => sum + value, 0) / of.length;
  const spread = Math.sqrt(of.reduce((sum, { value }) => sum + (value - mean) ** 2, 0) / (of.length - 1));
  const stated = Math.sqrt(of.reduce((sum, { error }) => sum + error ** 2, 0) / of.length);
  expect(spread).toBeGreaterThan(0);
  // going through the background evenly makes the spread smaller than what is stated, never larger
  expect(spread / stated).toBeGreaterThan(0.3);
  expect(spread / stated).toBeLessThan(1.15);
});

test('an additive model is exact when the pairs are a multiple of the background', async () => {
  const [, linear] = await sampleShapley(score, row, background, { ...options, pairs: 16 });
  const expected = await exact(1);
  for (const [at, value] of (linear?.values ?? []).entries()) expect(value).toBeCloseTo(expected[at] ?? Number.NaN, 12);
});

test('the same seed gives the same values, however many rows a call takes, and calls keep to their limit', async () => {
  let largest = 0;
  const counted: Score = (rows) => {
    largest = Math.max(largest, rows.length);
    return score(rows);
  };
  const small = await sampleShapley(counted, row, background, { ...options, rowsPerCall: 5 });
  expect(largest).toBe(5);
  expect(await sampleShapley(score, row, background, { ...options, rowsPerCall: 1000 })).toEqual(small);
  expect(await sampleShapley(score, row, background, { ...options, seed: 4 })).not.toEqual(small);
});

test('a model of one feature', async () => {
  const [only] = await sampleShapley(async (rows) => rows.map(([a = 0]) => [a * a]), [3], [[1]], {
    ...options,
    pairs: 2,
  });
  expect(only).toMatchObject({ base: 1, margin: 9, residual: 0 });
  expect([...(only?.values ?? [])]).toEqual([8]);
});

test('bad questions, answers of too few rows and aborts are refused', async () => {
  await expect(sampleShapley(score, row, [], options)).rejects.toThrow(/no background rows/);
  await expect(sampleShapley(score, row, [[1]], options)).rejects.toThrow(/background row has 1 values/);
  await expect(sampleShapley(score, row, background, { ...options, pairs: 1 })).rejects.toThrow(/2 to 100000/);
  await expect(sampleShapley(async () => [], row, background, options)).rejects.toThrow(/answered 0 of/);
  const signal = AbortSignal.abort();
  await expect(sampleShapley(score, row, background, { ...options, signal })).rejects.toThrow(/abort/i);
});
