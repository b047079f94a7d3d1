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
  book.outcome('m', 'a', 1, 1);
  book.outcome('m', 'a', 1, 1);
  book.outcome('m', 'b', 1, 1);
  book.outcome('other', 'a', 1, 1);
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
  book.outcome('m', 'a', 1, 1);
  expect(book.pending).toBe(0);
  expect(book.quality('m')).toMatchObject([{ predictions: 2, outcomes: 0, logLoss: Number.NaN }]);
});

test('beyond the limit the oldest are forgotten', () => {
  const book = createOutcomeBook({ pendingMax: 2, onJudged: ignore });
  for (const key of ['a', 'b', 'c']) book.predicted(prediction(key));
  expect([book.pending, book.forgotten]).toEqual([2, 1]);
  for (const key of ['a', 'b', 'c']) book.outcome('m', key, 1, 1);
  expect(book.quality('m')).toMatchObject([{ predictions: 3, outcomes: 2 }]);
});

test('segments have figures of their own, and values beyond the limit share one', () => {
  const book = createOutcomeBook({ pendingMax: 1_000, onJudged: ignore });
  for (let at = 0; at < 40; at++) {
    book.predicted({ ...prediction(String(at), at % 2), segments: [{ column: 'origin', value: `O${at}` }] });
    book.outcome('m', String(at), 1, at);
  }
  const [quality] = book.quality('m');
  expect(quality).toMatchObject({ predictions: 40, outcomes: 40, brier: 0.5 });
  expect(quality?.segments.length).toBe(33);
  expect(quality?.segments[0]).toMatchObject({ column: 'origin', value: 'O0', predictions: 1, outcomes: 1, brier: 1 });
  expect(quality?.segments.at(-1)).toMatchObject({ value: 'other', predictions: 8, outcomes: 8, brier: 0.5 });
});
