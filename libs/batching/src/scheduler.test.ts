import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createCostModel } from './cost-model.ts';
import { ageingMs, type Lane, type LanePolicy, type Level, type Ticket } from './lane.ts';
import { Scheduler } from './scheduler.ts';

const cost = { fixedMs: 1, rowMs: 0.1 };

function openLane(scheduler: Scheduler<string>, policy: Partial<LanePolicy> = {}, name = 'm'): Lane<string> {
  return scheduler.open({
    name,
    slots: [0],
    cost: createCostModel(cost),
    policy: { rowsMax: 8, delayMs: 0, queueMax: 100, ...policy },
  });
}

function ticket(item: string, more: Partial<Ticket<string>> = {}): Ticket<string> {
  return { item, rows: 1, group: '', level: 2, queuedMs: 0, deadlineMs: Number.POSITIVE_INFINITY, ...more };
}

const itemsOf = (scheduler: Scheduler<string>, nowMs = 0) =>
  scheduler.take(0, nowMs).batch?.tickets.map(({ item }) => item);

test('what waits shares a batch up to its rows, in order; a request above the limit runs alone', () => {
  const scheduler = new Scheduler<string>(1);
  const lane = openLane(scheduler);
  for (const [item, rows] of [
    ['a', 3],
    ['b', 20],
    ['c', 4],
    ['d', 2],
    ['e', 1],
  ] as const)
    scheduler.offer(lane, ticket(item, { rows, queuedMs: item.charCodeAt(0) / 1000 }), 0);
  expect(itemsOf(scheduler)).toEqual(['a', 'c', 'e']);
  scheduler.release(0);
  expect(itemsOf(scheduler)).toEqual(['b']);
  scheduler.release(0);
  expect(itemsOf(scheduler)).toEqual(['d']);
});

test('with preferred sizes a batch waits for the smallest, is the largest that can be filled, and after the delay what there is', () => {
  const scheduler = new Scheduler<string>(1);
  const lane = openLane(scheduler, { rowsMax: 8, delayMs: 10, preferredRows: [2, 4] });
  const take = (count: number, nowMs: number) => {
    for (let at = 0; at < count; at++) scheduler.offer(lane, ticket('x'), 0);
    const rows = itemsOf(scheduler, nowMs)?.length;
    if (rows !== undefined) scheduler.release(0);
    return rows;
  };
  expect(take(1, 0)).toBeUndefined();
  expect(scheduler.wakeMs()).toBe(10);
  expect(take(2, 0)).toBe(2);
  expect(take(4, 0)).toBe(4);
  expect(take(0, 0)).toBeUndefined();
  expect(take(0, 10)).toBe(1);
});

test('groups are not mixed', () => {
  const scheduler = new Scheduler<string>(1);
  const lane = openLane(scheduler);
  for (const item of ['a1', 'b1', 'a2', 'b2']) scheduler.offer(lane, ticket(item, { group: item.slice(0, 1) }), 0);
  expect(itemsOf(scheduler)).toEqual(['a1', 'a2']);
});

test('earliest deadline first within a level, levels before deadlines, and age before levels', () => {
  const scheduler = new Scheduler<string>(1);
  const lane = openLane(scheduler, { rowsMax: 1 });
  const give = (item: string, more: Partial<Ticket<string>>) => scheduler.offer(lane, ticket(item, more), 0);
  give('low-urgent', { level: 3, deadlineMs: 500 });
  give('late', { deadlineMs: 900 });
  give('soon', { deadlineMs: 300 });
  give('high', { level: 1, deadlineMs: 950 });
  give('old-low', { level: 3, queuedMs: -2 * ageingMs - 700, deadlineMs: Number.POSITIVE_INFINITY });
  const order = Array.from({ length: 5 }, () => {
    const [item] = itemsOf(scheduler) ?? [];
    scheduler.release(0);
    return item;
  });
  expect(order).toEqual(['old-low', 'high', 'soon', 'late', 'low-urgent']);
});

test('a batch takes nobody in who would make one before it late, and late ones give way to those that can be met', () => {
  const scheduler = new Scheduler<string>(1);
  const lane = openLane(scheduler);
  scheduler.offer(lane, ticket('tight', { deadlineMs: 1.15 }), 0);
  scheduler.offer(lane, ticket('big', { rows: 7, deadlineMs: 100 }), 0);
  expect(itemsOf(scheduler)).toEqual(['tight']);
  scheduler.release(0);
  scheduler.offer(lane, ticket('gone', { deadlineMs: 5.5 }), 0);
  const { batch, missed } = scheduler.take(0, 5);
  expect(batch?.tickets.map(({ item }) => item)).toEqual(['big']);
  expect(missed.map(([, { item }]) => item)).toEqual(['gone']);
});

test('a request that would be answered too late is refused at once, with how long it would wait', () => {
  const scheduler = new Scheduler<string>(1);
  const lane = openLane(scheduler, { rowsMax: 1 });
  for (let i = 0; i < 20; i++) scheduler.offer(lane, ticket(`${i}`, { level: 1 }), 0);
  expect(scheduler.offer(lane, ticket('x', { deadlineMs: 15 }), 0)).toEqual({
    t: 'too-late',
    waitMs: expect.closeTo(22, 6),
  });
  expect(scheduler.offer(lane, ticket('y', { deadlineMs: 30 }), 0)).toMatchObject({ t: 'queued' });
  // what is more urgent overtakes, so it waits for less
  expect(scheduler.offer(lane, ticket('z', { level: 1, deadlineMs: 15 }), 0)).toMatchObject({ t: 'queued' });
});

test('a full lane refuses, and the last of a lower level gives its place to a more urgent one', () => {
  const scheduler = new Scheduler<string>(1);
  const lane = openLane(scheduler, { queueMax: 2 });
  scheduler.offer(lane, ticket('a'), 0);
  scheduler.offer(lane, ticket('low', { level: 3 }), 0);
  expect(scheduler.offer(lane, ticket('low2', { level: 3 }), 0).t).toBe('full');
  expect(scheduler.offer(lane, ticket('b'), 0)).toMatchObject({ t: 'queued', displaced: { item: 'low' } });
  expect(scheduler.offer(lane, ticket('c'), 0).t).toBe('full');
  expect(lane.size).toBe(2);
});

test('a declared delay holds a batch until it is full, has waited, or would miss a deadline', () => {
  const scheduler = new Scheduler<string>(1);
  const lane = openLane(scheduler, { delayMs: 10, rowsMax: 3 });
  scheduler.offer(lane, ticket('a'), 0);
  expect(itemsOf(scheduler, 5)).toBeUndefined();
  expect(scheduler.wakeMs()).toBe(10);
  scheduler.offer(lane, ticket('b', { queuedMs: 5, deadlineMs: 8 }), 5);
  expect(scheduler.wakeMs()).toBeCloseTo(8 - 1.2 - 1, 6);
  expect(itemsOf(scheduler, 6)).toEqual(['b', 'a']);
  scheduler.release(0);
  for (const item of ['c', 'd', 'e']) scheduler.offer(lane, ticket(item, { queuedMs: 7 }), 7);
  expect(itemsOf(scheduler, 7)).toEqual(['c', 'd', 'e']);
});

test('the lane whose first request is the most urgent goes first, over all lanes', () => {
  const scheduler = new Scheduler<string>(1);
  const [hot, cold] = [openLane(scheduler, {}, 'hot'), openLane(scheduler, {}, 'cold')];
  for (let i = 0; i < 50; i++) scheduler.offer(hot, ticket(`hot${i}`, { queuedMs: 1 + i }), 1 + i);
  scheduler.offer(cold, ticket('cold', { queuedMs: 2 }), 2);
  expect(itemsOf(scheduler, 60)?.[0]).toBe('hot0');
  scheduler.release(0);
  expect(itemsOf(scheduler, 60)).toEqual(['cold']);
});

const arrivals = fc.array(
  fc.record({
    gapMs: fc.double({ min: 0, max: 3, noNaN: true }),
    rows: fc.integer({ min: 1, max: 12 }),
    group: fc.constantFrom('a', 'b'),
    level: fc.constantFrom<Level>(1, 2, 3),
    lane: fc.integer({ min: 0, max: 2 }),
    budgetMs: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.double({ min: 0.5, max: 60, noNaN: true })),
    cancelled: fc.boolean(),
  }),
  { maxLength: 120 },
);

test('whatever comes: each request has one end, none runs twice, limits and groups hold, and nobody waits past a deadline', () => {
  fc.assert(
    fc.property(arrivals, fc.integer({ min: 1, max: 3 }), fc.integer({ min: 2, max: 12 }), (given, slots, queueMax) => {
      const scheduler = new Scheduler<number>(slots);
      const lanes = [0, 1, 5].map((delayMs, at) =>
        scheduler.open({
          name: `${at}`,
          slots: Array.from({ length: slots }, (_, slot) => slot),
          cost: createCostModel(cost),
          policy: { rowsMax: 8, delayMs, queueMax },
        }),
      );
      const ends = new Map<number, string>();
      const end = (item: number, how: string) => {
        expect(ends.has(item)).toBe(false);
        ends.set(item, how);
      };
      const running: { slot: number; untilMs: number }[] = [];
      let nowMs = 0;
      const act = () => {
        for (const [, { item, deadlineMs }] of scheduler.expire(nowMs)) {
          expect(deadlineMs).toBeLessThanOrEqual(nowMs);
          end(item, 'expired');
        }
        for (let slot = 0; slot < slots; slot++) {
          if (!scheduler.isFree(slot)) continue;
          const { batch, missed } = scheduler.take(slot, nowMs);
          for (const [, { item }] of missed) end(item, 'missed');
          if (!batch) continue;
          expect(new Set(batch.tickets.map(({ group }) => group)).size).toBe(1);
          expect(batch.rows).toBe(batch.tickets.reduce((sum, { rows }) => sum + rows, 0));
          if (batch.tickets.length > 1) expect(batch.rows).toBeLessThanOrEqual(8);
          for (const { item, deadlineMs } of batch.tickets) {
            expect(deadlineMs).toBeGreaterThan(nowMs);
            end(item, 'ran');
          }
          running.push({ slot, untilMs: nowMs + batch.lane.cost.ofMs(batch.rows) });
        }
        for (const lane of lanes) expect(lane.size).toBeLessThanOrEqual(queueMax);
      };
      const advanceTo = (untilMs: number) => {
        for (;;) {
          running.sort((a, b) => a.untilMs - b.untilMs);
          const nextMs = Math.min(running[0]?.untilMs ?? Number.POSITIVE_INFINITY, scheduler.wakeMs());
          if (nextMs > untilMs || nextMs === Number.POSITIVE_INFINITY) break;
          nowMs = Math.max(nowMs, nextMs);
          while (running[0] && running[0].untilMs <= nowMs) scheduler.release(running.shift()?.slot ?? 0);
          act();
        }
        if (Number.isFinite(untilMs)) nowMs = untilMs;
      };
      for (const [item, one] of given.entries()) {
        advanceTo(nowMs + one.gapMs);
        const lane = lanes[one.lane] as Lane<number>;
        const { rows, group, level } = one;
        const offered: Ticket<number> = { item, rows, group, level, queuedMs: nowMs, deadlineMs: nowMs + one.budgetMs };
        const outcome = scheduler.offer(lane, offered, nowMs);
        if (outcome.t !== 'queued') {
          end(item, outcome.t);
          continue;
        }
        if (outcome.displaced) {
          expect(outcome.displaced.level).toBeGreaterThan(level);
          end(outcome.displaced.item, 'displaced');
        }
        if (one.cancelled && lane.remove(offered)) end(item, 'cancelled');
        act();
      }
      advanceTo(Number.POSITIVE_INFINITY);
      expect(ends.size).toBe(given.length);
      expect(lanes.map(({ size, rows }) => [size, rows])).toEqual([
        [0, 0],
        [0, 0],
        [0, 0],
      ]);
    }),
    { numRuns: 300 },
  );
});
