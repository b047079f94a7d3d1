import type { oip } from '@millrace/contracts';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fp32, inferRequest, type TestInput } from './inference-world.ts';
import { type OipWorld, openOipWorld } from './oip-world.ts';

let world: OipWorld;

beforeAll(async () => {
  world = await openOipWorld();
}, 180_000);

afterAll(() => world?.close());

const infer = (model: string, inputs: readonly TestInput[], outputs: readonly string[] = []) =>
  world.oip.modelInfer(inferRequest(model, inputs, outputs));

const identity = fp32('IN', [[1, -2.5, 3, 0]]);

test('the configuration has the tensors of the file in the words of Triton', async () => {
  const { config } = await world.oip.modelConfig({ name: 'every-type', version: '' });
  expect(config).toMatchObject({ name: 'every-type', platform: 'onnxruntime_onnx', backend: 'onnxruntime' });
  expect(config?.input.map(({ name, dataType, dims }) => [name, dataType, dims])).toEqual(
    [
      'BOOL',
      'UINT8',
      'UINT16',
      'UINT32',
      'UINT64',
      'INT8',
      'INT16',
      'INT32',
      'INT64',
      'FP16',
      'FP32',
      'FP64',
      'BYTES',
    ].map((name, at) => [`IN_${name}`, at + 1, [-1n, 2n]]),
  );
});

test('FP16 comes back bit for bit; typed it is refused, and a typed request for its output too', async () => {
  const halves = Buffer.from(Uint16Array.of(0x3c00, 0xc500, 0x7bff, 0x0001).buffer);
  const half = { name: 'IN', datatype: 'FP16', shape: [2, 2] };
  const answer = await infer('half', [{ ...half, raw: halves }]);
  expect(answer.outputs[0]).toMatchObject({ name: 'OUT', datatype: 'FP16', shape: [2n, 2n] });
  expect(answer.rawOutputContents).toEqual([halves]);
  await expect(infer('half', [{ ...half, contents: { fp32Contents: [1, 2, 3, 4] } }])).rejects.toMatchObject({
    reason: 'WRONG_TENSOR_TYPE',
    code: 3,
    message: expect.stringContaining('FP16 can only be sent raw'),
  });
});

test('BF16 is widened to the FP32 that it stands for', async () => {
  const bits = Buffer.from(Uint16Array.of(0x3f80, 0xc020, 0x7f80, 0x0001).buffer);
  const answer = await infer('identity', [{ name: 'IN', datatype: 'BF16', shape: [1, 4], raw: bits }]);
  const values = new Float32Array(new Uint8Array(answer.rawOutputContents[0] ?? []).buffer);
  expect([...values]).toEqual([1, -2.5, Number.POSITIVE_INFINITY, 2 ** -133]);
});

test('a stream answers each request in order, and an error of one leaves the rest', async () => {
  const requests = ['a', 'b', 'c', 'd'].map((id) => ({
    ...inferRequest(id === 'b' ? 'nope' : 'identity', [identity]),
    id,
  }));
  const answers: oip.ModelStreamInferResponse[] = [];
  for await (const answer of world.oip.modelStreamInfer(
    (async function* () {
      yield* requests;
    })(),
  ))
    answers.push(answer);
  expect(answers.map(({ inferResponse }) => inferResponse?.id)).toEqual(['a', 'b', 'c', 'd']);
  expect(answers.map(({ errorMessage }) => errorMessage)).toEqual([
    '',
    expect.stringContaining('there is no model "nope"'),
    '',
    '',
  ]);
  expect(answers[3]?.inferResponse?.outputs[0]?.contents?.fp32Contents).toEqual([1, -2.5, 3, 0]);
});

test('parameters of every kind are taken; those that would change the answer are refused by name', async () => {
  const parameters = new Map<string, oip.InferParameter>([
    ['a', { parameterChoice: { $case: 'boolParam', value: true } }],
    ['b', { parameterChoice: { $case: 'int64Param', value: -(2n ** 60n) } }],
    ['c', { parameterChoice: { $case: 'stringParam', value: 'x' } }],
    ['d', { parameterChoice: { $case: 'doubleParam', value: 0.5 } }],
    ['e', { parameterChoice: { $case: 'uint64Param', value: 2n ** 63n } }],
  ]);
  const request = { ...inferRequest('identity', [identity]), parameters };
  expect((await world.oip.modelInfer(request)).outputs[0]?.contents?.fp32Contents).toEqual([1, -2.5, 3, 0]);
  for (const name of ['shared_memory_region', 'classification']) {
    const refused = inferRequest('identity', [identity]);
    refused.inputs[0]?.parameters.set(name, { parameterChoice: { $case: 'int64Param', value: 1n } });
    await expect(world.oip.modelInfer(refused)).rejects.toMatchObject({
      reason: 'UNSUPPORTED',
      code: 12,
      message: expect.stringContaining(`"${name}"`),
    });
  }
});

test('statistics count rows, runs and failures of a version', async () => {
  const read = async () => (await world.oip.modelStatistics({ name: 'wide', version: '' })).modelStats;
  expect(await read()).toMatchObject([{ name: 'wide', inferenceCount: 0n, executionCount: 0n, lastInference: 0n }]);
  const rows = [
    [1, 2],
    [3, 4],
    [5, 6],
  ];
  await infer('wide', [fp32('IN', rows)]);
  await infer('wide', [fp32('IN', rows)]);
  await infer('wide', [{ ...fp32('IN', rows), datatype: 'INT8' }]).catch(() => undefined);
  const [of] = await read();
  expect(of).toMatchObject({
    inferenceCount: 6n,
    executionCount: 2n,
    inferenceStats: { success: { count: 2n }, fail: { count: 1n }, computeInfer: { count: 2n } },
    batchStats: [{ batchSize: 3n, computeInfer: { count: 2n } }],
  });
  expect(of?.inferenceStats?.success?.ns).toBeGreaterThan(0n);
  expect(Math.abs(Number(of?.lastInference) - Date.now())).toBeLessThan(60_000);
  expect((await world.oip.modelStatistics({ name: '', version: '' })).modelStats.length).toBe(5);
});

test('a model is unloaded and loaded; the index tells, the others go on', async () => {
  const index = async (ready = false) => (await world.oip.repositoryIndex({ repositoryName: '', ready })).models;
  expect((await index()).map(({ name, state }) => `${name} ${state}`)).toEqual(
    ['every-type', 'half', 'identity', 'text', 'wide'].map((name) => `${name} READY`),
  );
  await world.oip.repositoryModelUnload({ repositoryName: '', modelName: 'text', parameters: new Map() });
  expect((await index()).find(({ name }) => name === 'text')).toMatchObject({
    state: 'UNAVAILABLE',
    reason: 'unloaded',
  });
  expect((await index(true)).map(({ name }) => name)).not.toContain('text');
  await expect(infer('text', [])).rejects.toMatchObject({ reason: 'MODEL_NOT_READY', code: 14 });
  expect(await world.oip.modelReady({ name: 'text', version: '' })).toEqual({ ready: false });
  await infer('identity', [identity]);
  await world.oip.repositoryModelLoad({ repositoryName: '', modelName: 'text', parameters: new Map() });
  expect(await world.oip.modelReady({ name: 'text', version: '' })).toEqual({ ready: true });
  for (const call of ['repositoryModelLoad', 'repositoryModelUnload'] as const)
    await expect(
      world.oip[call]({ repositoryName: '', modelName: 'nope', parameters: new Map() }),
    ).rejects.toMatchObject({ reason: 'UNKNOWN_MODEL', code: 5 });
});

test('unloading under load lets what runs end, and refuses what comes later as not ready', async () => {
  const outcomes: string[] = [];
  let going = true;
  const callers = Array.from({ length: 8 }, async () => {
    while (going)
      outcomes.push(
        await infer('wide', [fp32('IN', [[1]])]).then(
          () => 'ok',
          (error) => error.reason,
        ),
      );
  });
  await eventually(async () => outcomes.length > 50);
  await world.oip.repositoryModelUnload({ repositoryName: '', modelName: 'wide', parameters: new Map() });
  await eventually(async () => outcomes.at(-1) === 'MODEL_NOT_READY');
  await world.oip.repositoryModelLoad({ repositoryName: '', modelName: 'wide', parameters: new Map() });
  await eventually(async () => outcomes.at(-1) === 'ok');
  going = false;
  await Promise.all(callers);
  expect([...new Set(outcomes)].toSorted()).toEqual(['MODEL_NOT_READY', 'ok']);
});
