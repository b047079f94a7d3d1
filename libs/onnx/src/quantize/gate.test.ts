import { expect, test } from 'vitest';
import { gateProblems, reportOutput, wilsonLower } from './gate.ts';

const ramp = Float32Array.from({ length: 1_200 }, (_, at) => Math.sin(at));

test("Wilson's lower bound is statsmodels' proportion_confint(…, 0.10, 'wilson')", () => {
  expect(wilsonLower(512, 512)).toBeCloseTo(0.9947435121, 9);
  expect(wilsonLower(990, 1000)).toBeCloseTo(0.9833430075, 9);
  expect(wilsonLower(0, 10)).toBe(0);
});

test('a model that is the same passes; half a dB below the limit, and one label too many, do not', () => {
  const same = reportOutput({ output: 'Y', rows: 600, original: ramp, quantized: ramp, isLabel: false });
  expect(same).toMatchObject({
    sqnrDb: Number.POSITIVE_INFINITY,
    maxDifference: 0,
    agreement: { same: 600, rows: 600 },
  });
  expect(gateProblems([same], 600, { original: 0, quantized: 0 })).toEqual([]);
  expect(gateProblems([same], 511, undefined)).toEqual([expect.stringContaining('511 sample rows are fewer than 512')]);
  expect(gateProblems([same], 600, { original: 0, quantized: 1e-9 })).toEqual([
    expect.stringContaining('depends on its batch'),
  ]);
  const noisy = (db: number) =>
    reportOutput({
      output: 'Y',
      rows: 1_200,
      original: ramp.map((value) => value * 9),
      quantized: ramp.map((value) => value * 9 * (1 + 10 ** (-db / 20))),
      isLabel: false,
    });
  expect(gateProblems([noisy(25.5)], 1_200, undefined)).toEqual([]);
  expect(gateProblems([noisy(24.5)], 1_200, undefined)).toEqual([expect.stringContaining('24.5 dB')]);
});

test('labels are compared exactly, and numbers that are none are no small difference', () => {
  const words = Array.from({ length: 600 }, (_, at) => (at % 2 ? 'late' : 'on time'));
  const one: string[] = [...words];
  one[7] = 'cancelled';
  const report = reportOutput({ output: 'label', rows: 600, original: words, quantized: one, isLabel: true });
  expect(report.agreement).toMatchObject({ rows: 600, same: 599 });
  expect(gateProblems([report], 600, undefined)).toEqual([expect.stringContaining('599 of 600 rows')]);
  const lost = Float32Array.from(ramp);
  lost[3] = Number.NaN;
  const broken = reportOutput({ output: 'Y', rows: 1_200, original: ramp, quantized: lost, isLabel: false });
  expect(broken.maxDifference).toBe(Number.POSITIVE_INFINITY);
  expect(gateProblems([broken], 1_200, undefined)).toHaveLength(1);
});
