import { expect, test } from 'vitest';
import { createOutcomeBook } from './outcomes.ts';

const prediction = (key: string, score = 0.5, modelVersion = 'v1') => ({
  deployment: 'd',
  model: 'm',
  modelVersion,
  predictedUs: 7,
  key,
  score,
});
const ignore = () => undefined;

test('an outcome counts for every version that predicted its key, and once', () => {
  const book = createOutcomeBook({ pendingMax: 10, onJudged: ignore });
  book.predicted(prediction('a', 0.9, 'v1'));
  book.predicted(prediction('a', 0.2, 'v2'));
  book.outcome('m', 'a', true, 1);
  book.outcome('m', 'a', true, 1);
  book.outcome('m', 'b', true, 1);
  book.outcome('other', 'a', true, 1);
  expect(book.quality('m')).toMatchObject([
    { modelVersion: 'v1', predictions: 1, outcomes: 1, logLoss: -Math.log(0.9) },
    { modelVersion: 'v2', predictions: 1, outcomes: 1, logLoss: -Math.log(0.2) },
  ]);
  expect(book.quality('other')).toEqual([]);
  expect(book.pending).toBe(0);
});

test('a prediction without a key or without a score is counted and waits for nothing', () => {
  const book = createOutcomeBook({ pendingMax: 10, onJudged: ignore });
  book.predicted(prediction(''));
  book.predicted(prediction('a', Number.NaN));
  book.outcome('m', 'a', true, 1);
  expect(book.pending).toBe(0);
  expect(book.quality('m')).toMatchObject([{ predictions: 2, outcomes: 0, logLoss: Number.NaN }]);
});

test('beyond the limit the oldest are forgotten', () => {
  const book = createOutcomeBook({ pendingMax: 2, onJudged: ignore });
  for (const key of ['a', 'b', 'c']) book.predicted(prediction(key));
  expect([book.pending, book.forgotten]).toEqual([2, 1]);
  for (const key of ['a', 'b', 'c']) book.outcome('m', key, true, 1);
  expect(book.quality('m')).toMatchObject([{ predictions: 3, outcomes: 2 }]);
});
