import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { auc, logLoss } from './index.ts';

const reference = JSON.parse(readFileSync(new URL('./fixtures/quality.json', import.meta.url), 'utf8')) as {
  readonly scores: number[];
  readonly labels: number[];
  readonly auc: number;
  readonly logLoss: number;
};

test('AUC and log loss equal those of scikit-learn, ties included', () => {
  expect(reference.scores.length).toBe(200);
  expect(auc(reference.scores, reference.labels)).toBeCloseTo(reference.auc, 12);
  expect(logLoss(reference.scores, reference.labels)).toBeCloseTo(reference.logLoss, 12);
});

test('AUC of a single class is not a number', () => {
  expect(auc([0.1, 0.9], [1, 1])).toBeNaN();
});
