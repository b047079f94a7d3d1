import { readFileSync } from 'node:fs';
import { auc, logLoss } from '@millrace/stats';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RunningQuality } from './quality.ts';

const bins = 65_536;
const outcomes = (score: fc.Arbitrary<number>) =>
  fc.array(fc.record({ score, positive: fc.boolean() }), { minLength: 1, maxLength: 200 });

function figuresOf(given: readonly { readonly score: number; readonly positive: boolean }[]) {
  const quality = new RunningQuality();
  for (const { score, positive } of given) quality.add(score, Number(positive));
  return quality.figures();
}

test('without outcomes there are no figures', () => {
  expect(new RunningQuality().figures()).toEqual({
    outcomes: 0,
    auc: Number.NaN,
    logLoss: Number.NaN,
    positiveRate: Number.NaN,
    brier: Number.NaN,
    calibrationError: Number.NaN,
    rmse: Number.NaN,
    mae: Number.NaN,
  });
});

test('AUC needs both classes', () => {
  expect(figuresOf([{ score: 0.9, positive: true }]).auc).toBeNaN();
  expect(figuresOf([{ score: 0.9, positive: false }]).auc).toBeNaN();
});

test('scores of a bin of their own give the AUC of brute force, ties counting half', () => {
  fc.assert(
    fc.property(outcomes(fc.integer({ min: 0, max: bins - 1 }).map((bin) => (bin + 0.5) / bins)), (given) => {
      const scores = given.map(({ score }) => score);
      const labels = given.map(({ positive }) => positive);
      fc.pre(new Set(labels).size === 2);
      const figures = figuresOf(given);
      expect(figures.auc).toBeCloseTo(bruteForceAuc(scores, labels), 12);
      expect(figures.auc).toBeCloseTo(auc(scores, labels), 12);
    }),
  );
});

test('any scores give AUC within the stated error', () => {
  fc.assert(
    fc.property(outcomes(fc.double({ min: 0, max: 1, noNaN: true })), (given) => {
      const scores = given.map(({ score }) => score);
      const labels = given.map(({ positive }) => positive);
      fc.pre(new Set(labels).size === 2);
      const exact = bruteForceAuc(scores, labels);
      expect(Math.abs(figuresOf(given).auc - exact)).toBeLessThanOrEqual(errorMax(scores, labels) + 1e-12);
    }),
  );
});

test('log loss and positive rate are those of the reference, at 0 and 1 too', () => {
  const score = fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true }));
  fc.assert(
    fc.property(outcomes(score), (given) => {
      const scores = given.map((one) => one.score);
      const labels = given.map(({ positive }) => positive);
      const figures = figuresOf(given);
      expect(figures.outcomes).toBe(given.length);
      expect(figures.logLoss).toBeCloseTo(logLoss(scores, labels), 9);
      expect(figures.positiveRate).toBeCloseTo(labels.filter(Boolean).length / given.length, 12);
    }),
  );
});

/** Every pair. */
function bruteForceAuc(scores: readonly number[], labels: readonly boolean[]): number {
  let wins = 0;
  let pairs = 0;
  for (const [i, high] of scores.entries())
    for (const [j, low] of scores.entries()) {
      if (!labels[i] || labels[j]) continue;
      pairs++;
      wins += high > low ? 1 : high === low ? 0.5 : 0;
    }
  return pairs === 0 ? Number.NaN : wins / pairs;
}

function errorMax(scores: readonly number[], labels: readonly boolean[]): number {
  const positives = new Map<number, number>();
  const negatives = new Map<number, number>();
  for (const [at, score] of scores.entries()) {
    const bin = Math.min(bins - 1, Math.floor(score * bins));
    const side = labels[at] ? positives : negatives;
    side.set(bin, (side.get(bin) ?? 0) + 1);
  }
  const count = labels.filter(Boolean).length;
  let shared = 0;
  for (const [bin, each] of positives) shared += each * (negatives.get(bin) ?? 0);
  return shared / (2 * count * (labels.length - count));
}

test('Brier score, calibration error, RMSE and MAE are scikit-learn’s', () => {
  const { binary, amounts } = JSON.parse(
    readFileSync(new URL('../fixtures/quality.json', import.meta.url), 'utf8'),
  ) as Record<
    'binary' | 'amounts',
    { readonly scores: number[]; readonly outcomes: number[]; readonly figures: Readonly<Record<string, number>> }
  >;
  for (const { scores, outcomes: labels, figures } of [binary, amounts]) {
    const quality = new RunningQuality();
    for (const [at, score] of scores.entries()) quality.add(score, labels[at] ?? Number.NaN);
    const found = quality.figures();
    expect(found).toMatchObject(
      Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, expect.closeTo(value, 10)])),
    );
    expect(scores.length).toBe(500);
  }
  expect([Object.keys(binary.figures).length, Object.keys(amounts.figures).length]).toEqual([6, 2]);
});
