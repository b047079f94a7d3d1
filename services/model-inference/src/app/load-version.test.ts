import { MeshError } from '@millrace/kernel';
import { expect, test } from 'vitest';
import { chooseBatching } from '../domain/batching-choice.ts';
import type { GoldenRequest } from '../domain/golden.ts';
import type { Tensor } from '../domain/tensor.ts';
import { createVersionLoader } from './load-version.ts';
import type { LoadedModel, LoadRequest } from './model-book.ts';
import { createRecentRequests } from './recent-requests.ts';

const row = (...values: number[]): Tensor => ({
  datatype: 'FP32',
  shape: [1, values.length],
  data: Float32Array.from(values),
});
const golden = { uri: 'g.jsonl', sha256: 'ab' };
const asked = (value: number, expected: number, output = 'y'): GoldenRequest => ({
  label: `request "${value}"`,
  inputs: new Map([['x', row(value)]]),
  outputs: [{ name: output, shape: undefined, values: [expected], atol: undefined, rtol: undefined }],
});

/** Versions that double their input; `answer` may do otherwise. */
function open(checks: readonly GoldenRequest[], answer = (x: number): number => 2 * x) {
  const loads: LoadRequest[] = [];
  const events: string[] = [];
  const loader = createVersionLoader({
    recent: createRecentRequests({ modelsMax: 4 }),
    readGolden: async () => checks,
    async load(request): Promise<LoadedModel> {
      loads.push(request);
      return {
        inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 1] }],
        outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 1] }],
        facts: {
          ...{ irVersion: 9, opsets: {}, producer: '', producerVersion: '', metadata: {}, labels: {}, changes: [] },
          batching: { t: 'safe' },
        },
        batching: chooseBatching(1, [], undefined),
        async run(inputs) {
          const x = inputs.get('x')?.data[0] as number;
          events.push(`run ${x}`);
          return new Map([['y', row(answer(x))]]);
        },
        close: async () => void events.push('released'),
      };
    },
  });
  const load = (more: Partial<LoadRequest> = {}) =>
    loader({ name: 'm', version: 'v1', uri: 'm.onnx', sha256: '', format: 'onnx', golden, ...more });
  return { load, loads, events };
}

test('every golden request is asked before the version serves', async () => {
  const { load, events } = open([asked(1, 2), asked(3, 6)]);
  await load();
  expect(events).toEqual(['run 1', 'run 3']);
});

test('a version that answers otherwise is released, and the error says which request, output and values', async () => {
  const { load, events } = open([asked(1, 2), asked(3, 7), asked(4, 8)]);
  await expect(load()).rejects.toMatchObject({
    reason: 'GOLDEN_CHECK_FAILED',
    message: expect.stringContaining('request "3" of "g.jsonl": output "y" element [0,0] is 6, expected 7'),
    metadata: { model: 'm', output: 'y', element: '[0,0]', got: '6', expected: '7', golden_sha256: 'ab' },
  });
  expect(events).toEqual(['run 1', 'run 3', 'released']);
});

test('inputs that the version does not take, and outputs that it does not have, fail the check', async () => {
  const narrow = { ...asked(1, 2), inputs: new Map([['x', row(1, 2)]]) };
  for (const [check, message] of [
    [narrow, 'request "1" of "g.jsonl": input "x" of model "m" has shape'],
    [asked(1, 2, 'z'), 'output "z" is not among the model'],
  ] as const) {
    const { load, events } = open([check]);
    await expect(load()).rejects.toMatchObject({
      reason: 'GOLDEN_CHECK_FAILED',
      message: expect.stringContaining(message),
      metadata: { golden_sha256: 'ab' },
    });
    expect(events.at(-1)).toBe('released');
  }
});

test('a run that fails fails the check; one that found no place in the queue is to be tried again', async () => {
  const thrown = (error: MeshError) =>
    open([asked(1, 2)], () => {
      throw error;
    });
  const broken = thrown(new MeshError('MODEL_RUN_FAILED', 'model "m" failed'));
  await expect(broken.load()).rejects.toMatchObject({ reason: 'GOLDEN_CHECK_FAILED' });
  const busy = thrown(new MeshError('OVERLOADED', 'full'));
  await expect(busy.load()).rejects.toMatchObject({ reason: 'OVERLOADED' });
  expect(busy.events).toEqual(['run 1', 'released']);
});

test('a version is warmed up with the golden requests and with what the versions before it were asked', async () => {
  const { load, loads, events } = open([asked(1, 2)]);
  const first = await load();
  expect(loads[0]?.warmUp?.map((inputs) => inputs.get('x')?.data[0])).toEqual([1]);
  const own = row(8);
  await first.run(new Map([['x', own]]), ['y']);
  (own.data as Float32Array).fill(0);
  await first.run(new Map([['x', row(9)]]), ['y']);
  await load({ golden: undefined });
  expect(loads[1]?.warmUp?.map((inputs) => inputs.get('x')?.data[0])).toEqual([9, 8]);
  expect(events).toEqual(['run 1', 'run 8', 'run 9']);
});

test('of many requests the latest sixteen samples are kept, none that is large, and of some models only', async () => {
  const recent = createRecentRequests({ modelsMax: 2 });
  const { load } = open([]);
  const model = await load({ golden: undefined });
  const run = (name: string, x: Tensor) => recent.wrap(model, name).run(new Map([['x', x]]), ['y']);
  const many = recent.wrap(model, 'many');
  for (let at = 0; at < 200; at++) await many.run(new Map([['x', row(at)]]), ['y']);
  const kept = recent.of('many').map((inputs) => inputs.get('x')?.data[0]);
  expect(kept.length).toBe(16);
  expect(kept.slice(0, 4)).toEqual([192, 128, 64, 15]);
  await run('large', { datatype: 'FP32', shape: [1, 20_000], data: new Float32Array(20_000) });
  expect(recent.of('large')).toEqual([]);
  await run('second', row(1));
  await run('third', row(1));
  expect([recent.of('many').length, recent.of('second').length, recent.of('third').length]).toEqual([0, 1, 1]);
});
