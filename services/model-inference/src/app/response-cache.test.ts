import { MeshError } from '@millrace/kernel';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Tensors } from '../domain/batch-tensors.ts';
import type { LoadedModel, RunOptions } from './model-book.ts';
import { type CacheUse, createResponseCache } from './response-cache.ts';

/** y = 2x for each row, with what it was asked and a gate for its answers. */
function doubling({ unsafe }: { readonly unsafe?: string } = {}) {
  const ran: number[][] = [];
  const gates: PromiseWithResolvers<void>[] = [];
  const model = {
    batching: { unsafe },
    async run(inputs: Tensors, _outputs: readonly string[], options?: RunOptions) {
      const x = inputs.get('x')?.data as Float32Array;
      ran.push([...x]);
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      options?.signal?.addEventListener('abort', () => gate.reject(new Error('the caller is gone')));
      await gate.promise;
      return new Map([['y', { datatype: 'FP32', shape: [x.length, 1], data: x.map((value) => 2 * value) }]]);
    },
    close: async () => undefined,
  } as unknown as LoadedModel;
  return { model, ran, gates };
}

const rowsOf = (...values: readonly number[]): Tensors =>
  new Map([['x', { datatype: 'FP32', shape: [values.length, 1], data: Float32Array.from(values) }]]);
const answerOf = (outputs: Tensors) => Array.from(outputs.get('y')?.data ?? [], Number);

function world(options: { readonly unsafe?: string; readonly bytesMax?: number; readonly ttlMs?: number } = {}) {
  const uses: CacheUse[] = [];
  const clock = { ms: 1_000, ttlMs: options.ttlMs ?? 1_000 };
  const cache = createResponseCache({
    bytesMax: options.bytesMax ?? 1e6,
    onUse: (_model, _version, use) => uses.push(use),
    nowMs: () => clock.ms,
  });
  const model = doubling(options.unsafe === undefined ? {} : { unsafe: options.unsafe });
  const cached = cache.wrap(model.model, { name: 'doubling', version: 'v1' }, () => clock.ttlMs);
  const ask = (values: readonly number[], how?: RunOptions) => cached.run(rowsOf(...values), ['y'], how).then(answerOf);
  const open = () => {
    for (const gate of model.gates.splice(0)) gate.resolve();
  };
  return { ...model, cached, cache, uses, clock, ask, open };
}

test('rows are answered from the cache one by one, and only the others are run', async () => {
  const { ask, open, ran, uses } = world();
  const first = ask([1, 2]);
  open();
  expect(await first).toEqual([2, 4]);
  const second = ask([2, 3, 1]);
  open();
  expect(await second).toEqual([4, 6, 2]);
  expect(await ask([3, 3])).toEqual([6, 6]);
  expect(ran).toEqual([[1, 2], [3]]);
  expect(uses).toEqual([
    { hits: 0, shared: 0, misses: 2 },
    { hits: 2, shared: 0, misses: 1 },
    { hits: 2, shared: 0, misses: 0 },
  ]);
});

test('equal rows that come together are run once, in one request and in several', async () => {
  const { ask, open, ran, uses } = world();
  const calls = [ask([1, 1]), ask([1, 2]), ask([2, 1])];
  open();
  expect(await Promise.all(calls)).toEqual([
    [2, 2],
    [2, 4],
    [4, 2],
  ]);
  expect(ran).toEqual([[1], [2]]);
  expect(uses.map(({ shared }) => shared)).toEqual([1, 1, 2]);
});

test('a caller that leaves takes nobody else with it', async () => {
  const { ask, open, ran, gates } = world();
  const leaver = new AbortController();
  const left = ask([1], { signal: leaver.signal });
  const stays = ask([1]);
  const leavesToo = new AbortController();
  const waited = ask([1], { signal: leavesToo.signal });
  leavesToo.abort();
  await expect(waited).rejects.toMatchObject({ reason: 'CANCELLED' });
  leaver.abort();
  await expect(left).rejects.toThrow('the caller is gone');
  await expect.poll(() => gates.length).toBe(2);
  open();
  expect(await stays).toEqual([2]);
  expect(ran).toEqual([[1], [1]]);
});

test('a failure is not kept', async () => {
  const { ask, open, gates } = world();
  const failed = ask([1]);
  gates.splice(0)[0]?.reject(new Error('out of luck'));
  await expect(failed).rejects.toThrow('out of luck');
  const again = ask([1]);
  open();
  expect(await again).toEqual([2]);
});

test('an answer is given for its time, and none is while the time is 0', async () => {
  const { ask, open, clock, ran } = world({ ttlMs: 100 });
  const once = async (value: number) => {
    const answer = ask([value]);
    open();
    return answer;
  };
  await once(1);
  clock.ms += 99;
  await once(1);
  expect(ran.length).toBe(1);
  clock.ms += 2;
  await once(1);
  expect(ran.length).toBe(2);
  clock.ttlMs = 0;
  await once(1);
  expect(ran.length).toBe(3);
});

test('requests of a model whose rows change each other are kept whole', async () => {
  const { ask, open, ran } = world({ unsafe: 'a softmax over the rows' });
  const calls = [ask([1, 2]), ask([1, 2]), ask([1])];
  open();
  await Promise.all(calls);
  expect(await ask([1, 2])).toEqual([2, 4]);
  expect(ran).toEqual([[1, 2], [1]]);
});

test('the answers stay below their bytes, and those of a closed model are dropped', async () => {
  const { ask, open, cache, cached } = world({ bytesMax: 10_000 });
  for (let value = 0; value < 100; value++) {
    const answer = ask([value]);
    open();
    await answer;
  }
  expect(cache.bytes).toBeGreaterThan(5_000);
  expect(cache.bytes).toBeLessThanOrEqual(10_000);
  await cached.close();
  expect(cache.bytes).toBe(0);
});

test('the answers of any requests are those of the model, and callers cannot change what is kept', async () => {
  const requests = fc.array(
    fc.array(fc.constantFrom(0, -0, 1, 2, Number.NaN, Number.POSITIVE_INFINITY), { minLength: 1, maxLength: 5 }),
    { maxLength: 12 },
  );
  await fc.assert(
    fc.asyncProperty(requests, async (all) => {
      const { cached, gates, open } = world({ bytesMax: 3_000 });
      for (const values of all) {
        const run = cached.run(rowsOf(...values), ['y']);
        await Promise.resolve();
        if (gates.length > 0) open();
        const data = (await run).get('y')?.data as Float32Array;
        expect([...data]).toEqual(values.map((value) => 2 * value));
        data.fill(7);
      }
    }),
  );
});

test('a model with a cache refuses nothing before it is asked; without one it says what it would', () => {
  const refusal = new MeshError('OVERLOADED', 'too many wait');
  const clock = { ttlMs: 0 };
  const cache = createResponseCache({ bytesMax: 1e6, onUse: () => {} });
  const model: LoadedModel = { ...doubling().model, refusal: () => refusal };
  const cached = cache.wrap(model, { name: 'doubling', version: 'v1' }, () => clock.ttlMs);
  expect(cached.refusal?.({})).toBe(refusal);
  clock.ttlMs = 1_000;
  expect(cached.refusal?.({})).toBeUndefined();
});
