import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import type { StoredRow } from '../domain/evaluate.ts';
import type { PlannedEntity } from '../domain/plan.ts';
import { createRedisPipeline } from './redis-pipeline.ts';

const entity = {} as PlannedEntity;
const readsOf = (name: string, count: number) =>
  Array.from({ length: count }, (_, i) => ({ key: `${name}.${i}`, entity }));
const rowOf = (key: string) => [new DataView(new TextEncoder().encode(key).buffer)];
const textOf = (row: StoredRow | undefined) => new TextDecoder().decode(row ?? undefined);

/** A pipeline to a Redis that answers when it is told to, each command with its own key. */
function piped() {
  const asked: string[] = [];
  const failures: string[] = [];
  const pipeline = createRedisPipeline({
    encode: ({ key }) => `${key}\n`,
    write: (text) => asked.push(...text.split('\n').slice(0, -1)),
    onFailure: (cause) => failures.push(cause),
    onStall() {},
  });
  return {
    pipeline,
    asked,
    failures,
    answer(count: number): void {
      for (const key of asked.splice(0, count)) pipeline.answer(key.includes('bad') ? undefined : rowOf(key));
      pipeline.send();
    },
    read(name: string, count: number, timeoutMs = 1_000) {
      const taken: string[] = [];
      const done = pipeline.add(readsOf(name, count), timeoutMs, (index, rows) => {
        expect(textOf(rows[0])).toBe(`${name}.${index}`);
        taken.push(`${name}.${index}`);
      });
      return { taken, done };
    },
  };
}

test('Redis has a thousand commands at most, and gets further ones as it answers', async () => {
  const { pipeline, asked, answer, read } = piped();
  const first = read('a', 700);
  const second = read('b', 2_000);
  pipeline.send();
  expect(asked.length).toBe(1_000);
  expect([pipeline.waiting, pipeline.held]).toEqual([2_700, true]);
  answer(300);
  expect(asked.length).toBe(1_000);
  while (asked.length > 0) answer(256);
  expect([await first.done, await second.done]).toEqual([[], []]);
  expect([first.taken.length, second.taken.length, pipeline.waiting, pipeline.held]).toEqual([700, 2_000, 0, false]);
});

test('what a read has not been sent when it gives up is never sent, and answers still find the others', async () => {
  vi.useFakeTimers();
  try {
    const { pipeline, asked, failures, answer, read } = piped();
    const cut = read('cut', 1_500, 50);
    const unsent = read('unsent', 500, 50);
    const after = read('after', 30);
    pipeline.send();
    answer(10);
    vi.advanceTimersByTime(60);
    const unanswered = await cut.done;
    expect([unanswered[0], unanswered.length, (await unsent.done).length]).toEqual([10, 1_490, 500]);
    expect(failures).toEqual(['timeout', 'timeout']);
    answer(0);
    expect(pipeline.waiting).toBe(1_000 + 30);
    while (asked.length > 0) answer(100);
    expect([await after.done, after.taken.length, cut.taken.length, unsent.taken.length]).toEqual([[], 30, 10, 0]);
    expect(pipeline.waiting).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

test('whatever comes, sends, answers, fails, expires and is lost, each read is told exactly what was not answered', async () => {
  const step = fc.oneof(
    fc.record({ t: fc.constant('read'), count: fc.integer({ min: 1, max: 900 }), bad: fc.boolean(), ms: fc.nat(40) }),
    fc.record({ t: fc.constant('answer'), count: fc.nat(1_200), bad: fc.constant(false), ms: fc.constant(0) }),
    fc.record({ t: fc.constant('wait'), count: fc.constant(0), bad: fc.constant(false), ms: fc.nat(30) }),
    fc.record({ t: fc.constant('lose'), count: fc.constant(0), bad: fc.constant(false), ms: fc.constant(0) }),
  );
  vi.useFakeTimers();
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const { pipeline, asked, answer, read } = piped();
        const all: (ReturnType<typeof read> & { name: string; count: number })[] = [];
        for (const [i, { t, count, bad, ms }] of steps.entries()) {
          const name = `${i}${bad ? 'bad' : ''}`;
          if (t === 'read') all.push({ ...read(name, count, ms + 1), name, count });
          else if (t === 'answer') answer(count);
          else if (t === 'wait') vi.advanceTimersByTime(ms);
          else {
            pipeline.lost();
            asked.length = 0;
          }
          if (t === 'read') pipeline.send();
          expect(asked.length).toBeLessThanOrEqual(1_000);
        }
        answer(0);
        while (asked.length > 0) answer(1_000);
        for (const { taken, done, name, count } of all) {
          const answered = new Set(taken);
          const missing = Array.from({ length: count }, (_, k) => k).filter((k) => !answered.has(`${name}.${k}`));
          expect(await done).toEqual(missing);
        }
        expect([pipeline.waiting, pipeline.held]).toEqual([0, false]);
      }),
      { numRuns: 200 },
    );
  } finally {
    vi.useRealTimers();
  }
});
