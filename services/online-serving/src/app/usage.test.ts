import { expect, test } from 'vitest';
import type { Matrix } from '../domain/matrix.ts';
import type { Plan } from '../domain/plan.ts';
import { createUsage, type FeatureUse } from './usage.ts';

const plan = {
  name: 'pages',
  features: [
    { view: 0, featureIndex: 0 },
    { view: 0, featureIndex: 1 },
    { view: 0, featureIndex: 0 },
  ],
  views: [{ definition: { name: 'v', features: [{ name: 'a' }, { name: 'b' }] } }],
} as unknown as Plan;

function openUsage() {
  const kept: FeatureUse[][] = [];
  const problems: string[] = [];
  let down = false;
  const usage = createUsage({
    book: {
      async add(uses) {
        if (down) throw new Error('away');
        kept.push([...uses]);
      },
      since: async () => kept.flat(),
    },
    features: () => ['a', 'b', 'c'].map((feature) => ({ view: 'v', feature })),
    nowMs: () => 86_400_000 * 40,
    onProblem: ({ message }) => problems.push(message),
  });
  const counted = usage.counted(async () => ({ plan, rows: 3 }) as Matrix);
  const read = (caller: string) =>
    counted({} as never, { caller, deadlineMs: undefined, signal: new AbortController().signal });
  return { usage, read, kept, problems, setDown: (value: boolean) => (down = value) };
}

test('reads are counted for each feature and consumer, and features that nobody reads are named', async () => {
  const { usage, read } = openUsage();
  for (const caller of ['x', 'y', 'x']) await read(caller);
  const { used, unused, sinceMs } = await usage.report(30);
  expect(sinceMs).toBe(86_400_000 * 10);
  expect(used.map(({ feature, consumer, requests, rows }) => [feature, consumer, requests, rows])).toEqual([
    ['a', 'x', 2, 6],
    ['b', 'x', 2, 6],
    ['a', 'y', 1, 3],
    ['b', 'y', 1, 3],
  ]);
  expect(unused).toEqual([{ view: 'v', feature: 'c' }]);
});

test('a feature that others are derived from is read', async () => {
  const kept: FeatureUse[] = [];
  const reads = { ...plan, features: plan.features.slice(1, 2) };
  const derived = { ...plan, features: [{ view: -1, featureIndex: -1 }], derivation: { reads } } as unknown as Plan;
  const usage = createUsage({
    book: { add: async (uses) => void kept.push(...uses), since: async () => kept },
    features: () => [],
    nowMs: () => 0,
    onProblem: () => undefined,
  });
  const call = { caller: 'x', deadlineMs: undefined, signal: new AbortController().signal };
  await usage.counted(async () => ({ plan: derived, rows: 3 }) as Matrix)({} as never, call);
  await usage.flush();
  expect(kept.map(({ view, feature }) => [view, feature])).toEqual([['v', 'b']]);
});

test('what could not be kept is kept later, once', async () => {
  const { usage, read, kept, problems, setDown } = openUsage();
  await read('x');
  setDown(true);
  await usage.flush();
  await read('x');
  expect(problems[0]).toContain('away');
  setDown(false);
  await usage.flush();
  await usage.flush();
  expect(kept.flat().map(({ feature, requests }) => [feature, requests])).toEqual([
    ['a', 2],
    ['b', 2],
  ]);
});

test('consumers who invent names share one count', async () => {
  const { usage, read, kept } = openUsage();
  for (let i = 0; i < 1_000; i++) await read(`name ${i}`);
  await usage.flush();
  expect(kept[0]).toHaveLength(2 * 201);
  expect(kept[0]?.filter(({ consumer }) => consumer === 'others').map(({ requests }) => requests)).toEqual([800, 800]);
});
