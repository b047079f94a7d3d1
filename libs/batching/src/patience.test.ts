import { expect, test } from 'vitest';
import { createCostModel } from './cost-model.ts';
import type { Level, Ticket } from './lane.ts';
import { Scheduler } from './scheduler.ts';

const deadlineMs = 50;

/** A worker that takes 8 rows in 1 ms, and a process that hears of an answer `lagMs` after; `perMs` come for four seconds, every tenth urgent. */
function simulate(perMs: number, lagMs: number) {
  const scheduler = new Scheduler<number>(1);
  const lane = scheduler.open({
    name: 'm',
    slots: [0],
    cost: createCostModel({ fixedMs: 0.2, rowMs: 0.1 }),
    policy: { rowsMax: 8, delayMs: 0, queueMax: 10_000 },
  });
  const counts = { offered: 0, inTime: 0, late: 0, refused: 0, urgent: 0, urgentInTime: 0 };
  const answers: { readonly atMs: number; readonly tickets: readonly Ticket<number>[] }[] = [];
  for (let now = 0; now < 4_000; now++) {
    while (answers[0] && answers[0].atMs <= now) {
      const { tickets } = answers.shift() as (typeof answers)[number];
      lane.patience.answered(tickets.at(-1) as Ticket<number>, now);
      for (const { queuedMs, level } of tickets) {
        if (queuedMs < 1_000) continue;
        const isInTime = now - queuedMs <= deadlineMs;
        counts[isInTime ? 'inTime' : 'late']++;
        if (level === 1 && isInTime) counts.urgentInTime++;
      }
    }
    for (let one = 0; one < perMs; one++) {
      const level: Level = one % 10 === 0 ? 1 : 2;
      const offered = scheduler.offer(
        lane,
        { item: one, rows: 1, group: '', level, queuedMs: now, deadlineMs: now + deadlineMs },
        now,
      );
      if (now < 1_000) continue;
      counts.offered++;
      if (level === 1) counts.urgent++;
      if (offered.t !== 'queued') counts.refused++;
    }
    if (!scheduler.isFree(0)) scheduler.release(0);
    const { batch } = scheduler.take(0, now);
    if (batch) answers.push({ atMs: now + 1 + lagMs, tickets: batch.tickets });
  }
  return counts;
}

test('at twice the load, behind delays that no queue knows of, what is let in is answered in time, at full speed', () => {
  const { inTime, late, urgent, urgentInTime } = simulate(16, 25);
  expect(inTime).toBeGreaterThan(0.95 * 8 * 3_000);
  expect(late).toBeLessThan(0.01 * inTime);
  expect(urgentInTime).toBeGreaterThan(0.99 * urgent);
});

test('nothing is refused below full load', () => {
  const { offered, inTime, refused } = simulate(7, 5);
  expect(refused).toBe(0);
  expect(inTime).toBeGreaterThan(0.97 * offered);
});

test('a burst may take all the time that its callers have', () => {
  const scheduler = new Scheduler<number>(1);
  const lane = scheduler.open({
    name: 'm',
    slots: [0],
    cost: createCostModel({ fixedMs: 0, rowMs: 1 }),
    policy: { rowsMax: 1, delayMs: 0, queueMax: 1_000 },
  });
  const offer = (item: number) =>
    scheduler.offer(lane, { item, rows: 1, group: '', level: 2, queuedMs: 0, deadlineMs: 100 }, 0).t;
  expect(Array.from({ length: 100 }, (_, item) => offer(item)).every((said) => said === 'queued')).toBe(true);
  expect(offer(100)).toBe('too-late');
});
