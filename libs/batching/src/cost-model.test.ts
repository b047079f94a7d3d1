import { expect, test } from 'vitest';
import { createCostModel } from './cost-model.ts';

test('batches of different sizes give the line, and a change is followed', () => {
  const cost = createCostModel({ fixedMs: 0, rowMs: 0 });
  for (let i = 0; i < 200; i++) cost.observe(1 + (i % 32), 2 + 0.5 * (1 + (i % 32)));
  expect(cost.current().fixedMs).toBeCloseTo(2, 6);
  expect(cost.current().rowMs).toBeCloseTo(0.5, 6);
  for (let i = 0; i < 400; i++) cost.observe(1 + (i % 32), 1 + 0.25 * (1 + (i % 32)));
  expect(cost.ofMs(10)).toBeCloseTo(3.5, 1);
});

test('batches of one size move the line and keep its slope; a single pause of the machine moves it little', () => {
  const cost = createCostModel({ fixedMs: 1, rowMs: 0.1 });
  for (let i = 0; i < 500; i++) cost.observe(8, 3);
  expect(cost.ofMs(8)).toBeCloseTo(3, 2);
  cost.observe(8, 10_000);
  expect(cost.ofMs(8)).toBeLessThan(4);
});

test('an estimate is never negative', () => {
  const cost = createCostModel({ fixedMs: 0, rowMs: 0 });
  for (const [rows, ms] of [
    [1, 5],
    [64, 1],
    [2, 9],
    [128, 0.5],
  ] as const)
    cost.observe(rows, ms);
  for (const rows of [1, 2, 64, 1000]) expect(cost.ofMs(rows)).toBeGreaterThanOrEqual(0);
});
