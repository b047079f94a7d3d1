import { setTimeout as sleep } from 'node:timers/promises';
import { MeshError } from '@millrace/kernel';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createDispatcher, type LaneOptions } from './dispatcher.ts';

const nowMs = () => performance.timeOrigin + performance.now();

function openLane(more: Partial<LaneOptions<number, number>> = {}, slots = 1) {
  const dispatcher = createDispatcher({ slots, nowMs });
  const batches: number[][] = [];
  const lane = dispatcher.open<number, number>({
    name: 'model "m"',
    slots: Array.from({ length: slots }, (_, slot) => slot),
    policy: { rowsMax: 4, delayMs: 0, queueMax: 100 },
    async run(_, items) {
      batches.push([...items]);
      await sleep(2);
      if (items.some((item) => item < 0)) throw new MeshError('MODEL_RUN_FAILED', `bad row among ${items}`);
      return items.map((item) => item * 10);
    },
    isItems: () => true,
    ...more,
  });
  return { dispatcher, lane, batches };
}

test('every caller gets its own answer whoever shares its batch, and a bad row fails its caller alone', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: -3, max: 30 }), { maxLength: 40 }), async (items) => {
      const { lane } = openLane({}, 2);
      const ends = await Promise.allSettled(items.map((item) => lane.submit(item, { rows: 1 })));
      for (const [at, item] of items.entries()) {
        if (item < 0)
          expect(ends[at]).toMatchObject({ status: 'rejected', reason: { message: `bad row among ${item}` } });
        else expect(ends[at]).toEqual({ status: 'fulfilled', value: item * 10 });
      }
    }),
    { numRuns: 25 },
  );
});

test('idle: it starts at once and alone; busy: what came meanwhile is the next batch', async () => {
  const { lane, batches } = openLane();
  const first = lane.submit(1, { rows: 1 });
  await sleep(1);
  const others = [2, 3, 4].map((item) => lane.submit(item, { rows: 1 }));
  await Promise.all([first, ...others]);
  expect(batches).toEqual([[1], [2, 3, 4]]);
});

test('a caller that is gone takes its rows out of the queue, and a deadline that passes there is told', async () => {
  const { lane, batches } = openLane({
    async run(_, items) {
      batches.push([...items]);
      await sleep(50);
      return items;
    },
  });
  const busy = lane.submit(1, { rows: 1 });
  await sleep(1);
  const caller = new AbortController();
  const gone = lane.submit(2, { rows: 1, signal: caller.signal });
  const late = lane.submit(3, { rows: 1, deadlineMs: nowMs() + 10 });
  const kept = lane.submit(4, { rows: 1 });
  caller.abort();
  await expect(gone).rejects.toMatchObject({ reason: 'CANCELLED' });
  await expect(late).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
  await Promise.all([busy, kept]);
  expect(batches).toEqual([[1], [4]]);
  await expect(lane.submit(5, { rows: 1, signal: caller.signal })).rejects.toMatchObject({ reason: 'CANCELLED' });
});

test('a full queue refuses with its limit and when to retry', async () => {
  const { lane } = openLane({ policy: { rowsMax: 1, delayMs: 0, queueMax: 2 } });
  const ends = await Promise.allSettled([1, 2, 3].map((item) => lane.submit(item, { rows: 1 })));
  expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
  expect(ends[2]).toMatchObject({ reason: { reason: 'OVERLOADED', retryAfterMs: 100, metadata: { limit: '2' } } });
});

test('close refuses what is new, finishes what is there, and gives up what takes too long', async () => {
  const { lane } = openLane();
  const begun = [1, 2, 3, 4, 5].map((item) => lane.submit(item, { rows: 1 }));
  const closed = lane.close(1_000);
  await expect(lane.submit(6, { rows: 1 })).rejects.toThrow('model "m" was unloaded; ask again');
  expect(await Promise.all(begun)).toEqual([10, 20, 30, 40, 50]);
  await closed;
  const stuck = openLane({ run: () => new Promise(() => undefined) }).lane;
  void stuck.submit(1, { rows: 1 });
  await sleep(1);
  const waiting = stuck.submit(2, { rows: 1 });
  void stuck.close(10);
  await expect(waiting).rejects.toThrow('was unloaded');
});

test('a reserved slot runs no batch, the other does; a freed slot runs the next one although a run goes on', async () => {
  const slots: number[] = [];
  const { dispatcher, lane } = openLane(
    {
      async run(slot, items) {
        slots.push(slot);
        return items;
      },
    },
    2,
  );
  const { promise, resolve } = Promise.withResolvers<void>();
  const held = dispatcher.reserve(0, () => promise);
  await sleep(1);
  await Promise.all([lane.submit(1, { rows: 4 }), lane.submit(2, { rows: 4 })]);
  expect(slots).toEqual([1, 1]);
  resolve();
  await held;

  const ends = Promise.withResolvers<readonly number[]>();
  const long = openLane({
    run(_, items, free) {
      if (items[0] !== 0) return Promise.resolve(items);
      free();
      return ends.promise;
    },
  });
  const slow = long.lane.submit(0, { rows: 1 });
  await sleep(1);
  expect(await long.lane.submit(7, { rows: 1 })).toBe(7);
  ends.resolve([70]);
  expect(await slow).toBe(70);
});
