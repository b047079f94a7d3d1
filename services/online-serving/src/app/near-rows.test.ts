import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { PlannedEntity } from '../domain/plan.ts';
import { createNearRows, type NearRowsOptions } from './near-rows.ts';
import type { RowStore } from './row-store.ts';

const entity: PlannedEntity = {
  name: 'a',
  keys: [],
  views: [0, 1],
  versions: [
    { view: 'v', version: '1' },
    { view: 'w', version: '1' },
  ],
};
const pair: PlannedEntity = { ...entity, views: [0], versions: [{ view: 'v', version: '1' }] };

function row(value: number): DataView {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return view;
}

/** A store whose rows are the times of their last writes, and which answers when it is told to, with what is there then. */
function openWorld(options: Partial<NearRowsOptions> = {}) {
  let nowMs = 1_000;
  const written = new Map<string, number>();
  const asked: { readonly answer: (lose?: boolean) => void; readonly keys: readonly string[] }[] = [];
  const store: RowStore = {
    read(reads, _timeoutMs, take) {
      const { promise, resolve } = Promise.withResolvers<readonly number[]>();
      const answer = (lose = false) => {
        const memory = row(0);
        if (!lose)
          for (const [index, { key, entity: of }] of reads.entries()) {
            const value = written.get(key);
            if (value !== undefined) memory.setFloat64(0, value);
            take(
              index,
              of.versions.map(() => (value === undefined ? null : memory)),
            );
          }
        // the store's memory is used again
        memory.setFloat64(0, Number.NaN);
        resolve(lose ? reads.map((_, index) => index) : []);
      };
      asked.push({ answer, keys: reads.map(({ key }) => key) });
      return promise;
    },
  };
  const outcomes = { hit: 0, joined: 0, asked: 0 };
  const near = createNearRows(store, {
    ttlMs: 0,
    entriesMax: 1_000,
    bytesMax: 1e6,
    readTimeoutMs: 1_000,
    nowMs: () => nowMs,
    onOutcome: (outcome, count) => (outcomes[outcome] += count),
    ...options,
  });
  async function read(keys: readonly string[], of = entity, timeoutMs = 500) {
    const values = new Map<string, number | null>();
    const unanswered = await near.read(
      keys.map((key) => ({ key, entity: of })),
      timeoutMs,
      (index, rows) => values.set(keys[index] ?? '', rows[0]?.getFloat64(0) ?? null),
    );
    return { values, unanswered };
  }
  return {
    near,
    read,
    asked,
    outcomes,
    write: (key: string) => written.set(key, nowMs),
    pass: (ms: number) => (nowMs += ms),
    now: () => nowMs,
  };
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test('reads of one turn share a question, reads of the next ask anew, when nothing may be kept', async () => {
  const { read, asked, write, outcomes, near } = openWorld();
  write('x');
  const first = [read(['x', 'y']), read(['y', 'x']), read(['x', 'x'])];
  await nextTurn();
  const second = read(['x']);
  expect(asked.map(({ keys }) => keys)).toEqual([['x', 'y'], ['x']]);
  for (const { answer } of asked) answer();
  for (const one of await Promise.all(first)) expect(one.values.get('x')).toBe(1_000);
  expect((await first[0])?.values.get('y')).toBe(null);
  expect((await second).values.get('x')).toBe(1_000);
  expect(outcomes).toEqual({ hit: 0, joined: 4, asked: 3 });
  expect(near.size().entries).toBe(0);
});

test('no answer is ever older than the bound, and none is older than a change that was told', async () => {
  const ttlMs = 100;
  const key = fc.constantFrom('a', 'b', 'c');
  const step = fc.oneof(
    fc.record({ t: fc.constant('write' as const), key }),
    fc.record({ t: fc.constant('told' as const), key }),
    fc.record({ t: fc.constant('read' as const), keys: fc.uniqueArray(key, { minLength: 1 }), short: fc.boolean() }),
    fc.record({ t: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 60 }) }),
    fc.record({ t: fc.constant('answer' as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const world = openWorld({ ttlMs, entriesMax: 2 });
      const writes: { key: string; atMs: number }[] = [];
      const toldMs = new Map<string, number>();
      const reading: Promise<void>[] = [];
      for (const one of steps) {
        if (one.t === 'write' || one.t === 'told') {
          world.write(one.key);
          writes.push({ key: one.key, atMs: world.now() });
          if (one.t === 'told') {
            world.near.forget(one.key, 'v', '1');
            toldMs.set(one.key, world.now());
          }
        } else if (one.t === 'pass') world.pass(one.ms);
        else if (one.t === 'answer') world.asked.shift()?.answer();
        else {
          const atMs = world.now();
          const told = new Map(toldMs);
          const before = writes.filter((write) => write.atMs <= atMs - ttlMs);
          reading.push(
            world.read(one.keys, one.short ? pair : entity, 60_000).then(({ values }) => {
              for (const name of one.keys) {
                const oldest = before.filter((write) => write.key === name).at(-1)?.atMs ?? 0;
                expect(values.get(name) ?? 0).toBeGreaterThanOrEqual(oldest);
                expect(values.get(name) ?? 0).toBeGreaterThanOrEqual(told.get(name) ?? 0);
              }
            }),
          );
        }
        await Promise.resolve();
      }
      for (const { answer } of world.asked) answer();
      await Promise.all(reading);
      expect(world.near.size().entries).toBeLessThanOrEqual(2);
    }),
    { numRuns: 500 },
  );
});

test('a kept row answers without the store until its time, and its memory is its own', async () => {
  const { read, asked, write, pass, outcomes } = openWorld({ ttlMs: 100 });
  write('x');
  const first = read(['x']);
  asked[0]?.answer();
  await first;
  pass(99);
  expect((await read(['x'])).values.get('x')).toBe(1_000);
  expect(outcomes.hit).toBe(1);
  pass(1);
  const later = read(['x']);
  expect(asked).toHaveLength(2);
  asked[1]?.answer();
  await later;
});

test('one reader that takes badly, or gives up, leaves the others their answers', async () => {
  const { near, read, asked, write } = openWorld();
  write('x');
  const failing = near.read([{ key: 'x', entity }], 500, () => {
    throw new Error('too old');
  });
  const patient = read(['x']);
  const hasty = read(['x'], entity, 5);
  await expect(hasty).resolves.toMatchObject({ unanswered: [0] });
  asked[0]?.answer();
  await expect(failing).rejects.toThrow('too old');
  expect((await patient).values.get('x')).toBe(1_000);
});

test('what the store does not answer is unanswered for all who asked, beside what was kept', async () => {
  const { read, asked, write, near } = openWorld({ ttlMs: 100 });
  write('x');
  const first = read(['x']);
  asked[0]?.answer();
  await first;
  const both = [read(['x', 'y']), read(['y'])];
  asked[1]?.answer(true);
  expect(await both[0]).toMatchObject({ unanswered: [1] });
  expect(await both[1]).toMatchObject({ unanswered: [0] });
  expect(near.size().entries).toBe(1);
  expect((await read([])).unanswered).toEqual([]);
});

test('entries and bytes are limited', async () => {
  for (const limit of [{ entriesMax: 10 }, { bytesMax: 3_000 }]) {
    const { read, asked, write, near } = openWorld({ ttlMs: 100, ...limit });
    const keys = Array.from({ length: 50 }, (_, i) => `key-${i}`);
    for (const key of keys) write(key);
    const all = read(keys);
    asked[0]?.answer();
    await all;
    expect(near.size().entries).toBeGreaterThan(5);
    expect(near.size().entries).toBeLessThanOrEqual(limit.entriesMax ?? 15);
    expect(near.size().bytes).toBeLessThanOrEqual(limit.bytesMax ?? 1e6);
  }
});
