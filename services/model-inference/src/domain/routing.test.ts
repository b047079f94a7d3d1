import fc from 'fast-check';
import { expect, test } from 'vitest';
import { routeOf, type Target } from './routing.ts';

const target = (model: string, weight: number): Target => ({ model, version: '1', weight });

test('a key goes to the same target every time', () => {
  const targets = [target('a', 1), target('b', 2), target('c', 3)];
  fc.assert(
    fc.property(fc.string(), (key) => {
      expect(routeOf(targets, 'd', key)).toBe(routeOf([...targets], 'd', key));
    }),
  );
});

test('keys spread by weight', () => {
  const targets = [target('a', 9), target('b', 0), target('c', 1)];
  const counts = new Map<string, number>();
  for (let at = 0; at < 10_000; at++) {
    const model = routeOf(targets, 'd', `customer-${at}`)?.model ?? 'none';
    counts.set(model, (counts.get(model) ?? 0) + 1);
  }
  expect([...counts.keys()].sort()).toEqual(['a', 'c']);
  // four standard deviations of a fair draw are 120
  expect(Math.abs((counts.get('c') ?? 0) - 1_000)).toBeLessThan(120);
});

test('only weights that lose share lose keys', () => {
  const before = [target('a', 1), target('b', 1)];
  const after = [target('a', 1.5), target('b', 0.5)];
  for (let at = 0; at < 1_000; at++)
    if (routeOf(before, 'd', `k${at}`)?.model === 'a') expect(routeOf(after, 'd', `k${at}`)?.model).toBe('a');
});

test('no weight, no target', () => {
  expect(routeOf([], 'd', 'k')).toBeUndefined();
  expect(routeOf([target('a', 0)], 'd', 'k')).toBeUndefined();
  expect(routeOf([target('a', 0), target('b', 0.001)], 'd', 'k')?.model).toBe('b');
});

test('the small arms of two deployments are not the same units', () => {
  const targets = [target('a', 9), target('b', 1)];
  const isIn = (deployment: string, at: number) => routeOf(targets, deployment, `customer-${at}`)?.model === 'b';
  let both = 0;
  for (let at = 0; at < 10_000; at++) if (isIn('one', at) && isIn('two', at)) both++;
  // 100 when they are independent, 1,000 when they are the same; four standard deviations are 40
  expect(Math.abs(both - 100)).toBeLessThan(40);
});
