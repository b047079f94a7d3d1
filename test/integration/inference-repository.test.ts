import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fp32, inferRequest, type TestInput } from './inference-world.ts';
import { oipDir } from './oip-world.ts';
import { identityBytes, openRepositoryWorld, otherBytes, type RepositoryWorld } from './repository-world.ts';

let world: RepositoryWorld;

const batched = `
  name: "batched"
  platform: "onnxruntime_onnx"
  max_batch_size: 8
  input [ { name: "IN" data_type: TYPE_FP32 dims: [ 4 ] } ]
  output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 4 ] } ]
  instance_group [ { kind: KIND_CPU count: 1 } ]
  dynamic_batching {
    preferred_batch_size: [ 4, 8 ]
    max_queue_delay_microseconds: 1000
    priority_levels: 2
    default_priority_level: 2
    default_queue_policy { default_timeout_microseconds: 5000000 allow_timeout_override: true max_queue_size: 64 }
  }
  response_cache { enable: true }
  model_warmup [
    { name: "w" batch_size: 2 count: 3 inputs { key: "IN" value { data_type: TYPE_FP32 dims: 4 random_data: true } } },
    { name: "f" batch_size: 1 inputs { key: "IN" value { data_type: TYPE_FP32 dims: 4 input_data_file: "row" } } }
  ]
  version_policy: { specific: { versions: [ 2, 4 ] } }
`;

beforeAll(async () => {
  const text = readFileSync(join(oipDir, 'text.onnx'));
  world = await openRepositoryWorld({
    'identity/1/model.onnx': identityBytes,
    'batched/1/model.onnx': identityBytes,
    'batched/2/model.onnx': identityBytes,
    'batched/4/model.onnx': identityBytes,
    'batched/config.pbtxt': batched,
    'batched/warmup/row': Buffer.from(Float32Array.of(1, 2, 3, 4).buffer),
    'named/7/net.onnx': text,
    'named/config.pbtxt': 'default_model_filename: "net.onnx"',
    'wrong/1/model.onnx': identityBytes,
    'wrong/config.pbtxt': 'max_batch_size: 8\ninput { name: "IN" data_type: TYPE_FP32 dims: [ 5 ] }',
    'gpu/1/model.onnx': identityBytes,
    'gpu/config.pbtxt': 'instance_group [ { kind: KIND_GPU } ]',
    'unknown-field/1/model.onnx': identityBytes,
    'unknown-field/config.pbtxt': 'name: "unknown-field"\nmax_batchsize: 8',
    'empty/notes.txt': 'no version here',
    'damaged/1/model.onnx': identityBytes.subarray(0, 60),
  });
  await world.indexed('identity 1 READY');
  await world.indexed('batched 4 READY');
  await world.indexed('damaged 1 UNAVAILABLE', 'could not be loaded');
}, 120_000);

afterAll(() => world?.close());

const infer = (model: string, inputs: readonly TestInput[], more: object = {}) =>
  world.oip.modelInfer({ ...inferRequest(model, inputs), ...more });
const row = fp32('IN', [[1, 2, 3, 4]]);

test('a file in a folder is served over gRPC and REST, without a registry', async () => {
  const answer = await infer('identity', [row]);
  expect(answer).toMatchObject({ modelName: 'identity', modelVersion: '1' });
  expect(answer.outputs[0]?.contents?.fp32Contents).toEqual([1, 2, 3, 4]);
  const data = { name: 'IN', shape: [1, 4], datatype: 'FP32', data: [1, 2, 3, 4] };
  expect(
    await world.http('POST', '/v2/models/named/infer', {
      inputs: [{ ...data, datatype: 'BYTES', shape: [1, 1], data: ['a'] }],
    }),
  ).toMatchObject({
    status: 200,
    body: { model_version: '7' },
  });
  await expect(infer('nope', [])).rejects.toMatchObject({
    reason: 'UNKNOWN_MODEL',
    message: expect.stringContaining('identity'),
  });
});

test('the index has every folder, its versions, states and reasons', async () => {
  const lines = await world.index();
  const of = (name: string) => lines.filter((line) => line.startsWith(`${name} `)).join('; ');
  expect(of('batched')).toMatch(
    /^batched 1 UNAVAILABLE: not wanted by the version policy; batched 2 READY: serves sha256:\w{12}; batched 4 READY/,
  );
  expect(of('wrong')).toContain(
    'input "IN" has dims [5] behind the rows of max_batch_size, and the model\'s shape is [-1,4]',
  );
  expect(of('gpu')).toContain('instance_group has KIND_GPU; models run on the CPU: write KIND_CPU');
  expect(of('unknown-field')).toContain(
    'configuration, line 2, column 1: ModelConfig has no field "max_batchsize"; its fields: name,',
  );
  expect(of('empty')).toBe(
    'empty  UNAVAILABLE: model "empty": its folder has no version; put the file into a folder that is called 1',
  );
  expect(of('damaged')).toContain('UNAVAILABLE');
  await expect(infer('gpu', [row])).rejects.toMatchObject({ reason: 'UNKNOWN_MODEL' });
});

test('the configuration is in effect, and said to be on gRPC and REST', async () => {
  const { config } = await world.oip.modelConfig({ name: 'batched', version: '' });
  expect(config).toMatchObject({
    maxBatchSize: 8,
    input: [{ name: 'IN', dims: [4n] }],
    responseCache: { enable: true },
  });
  expect(config?.schedulingChoice?.value).toMatchObject({
    preferredBatchSize: [4, 8],
    maxQueueDelayMicroseconds: 1000n,
  });
  const { body } = await world.http('GET', '/v2/models/batched/config');
  expect(body).toMatchObject({
    max_batch_size: 8,
    dynamic_batching: {
      preferred_batch_size: [4, 8],
      default_queue_policy: { timeout_action: 'REJECT', max_queue_size: 64 },
    },
    instance_group: [{ kind: 'KIND_CPU', count: 1 }],
    version_policy: { specific: { versions: [2, 4] } },
    model_warmup: [{ name: 'w', inputs: { IN: { data_type: 'TYPE_FP32', random_data: true } } }, { name: 'f' }],
  });
  const rows = (count: number) =>
    fp32(
      'IN',
      Array.from({ length: count }, () => [1, 2, 3, 4]),
    );
  await infer('batched', [rows(8)]);
  await expect(infer('batched', [rows(9)])).rejects.toMatchObject({
    reason: 'WRONG_TENSOR_SHAPE',
    message: 'model "batched" takes 1 to 8 rows (max_batch_size), and 9 are given',
  });
  expect((await infer('batched', [row])).modelVersion).toBe('4');
  expect((await infer('batched', [row], { modelVersion: '2' })).modelVersion).toBe('2');
  await expect(infer('batched', [row], { modelVersion: '1' })).rejects.toMatchObject({ reason: 'UNKNOWN_MODEL' });
});

test('requests wait for company as configured, and a timeout only shortens', async () => {
  const lone = performance.now();
  await infer('batched', [fp32('IN', [[Math.random(), 0, 0, 0]])]);
  expect(performance.now() - lone).toBeGreaterThan(0.9);
  const parameters = (timeout: bigint) => ({
    parameters: new Map([['timeout', { parameterChoice: { $case: 'int64Param', value: timeout } }]]),
  });
  await expect(infer('slow-to-answer', [row], parameters(1n))).rejects.toMatchObject({ reason: 'UNKNOWN_MODEL' });
  await expect(infer('batched', [fp32('IN', [[Math.random(), 1, 0, 0]])], parameters(1n))).rejects.toMatchObject({
    reason: expect.stringMatching(/DEADLINE_EXCEEDED|OVERLOADED/),
  });
  await infer('batched', [fp32('IN', [[Math.random(), 2, 0, 0]])], parameters(2_000_000n));
  await expect(infer('batched', [row], parameters(-1n))).rejects.toMatchObject({
    reason: 'INVALID_ARGUMENT',
    message: 'parameter "timeout" is "-1"; it takes whole microseconds, 0 for none',
  });
});

test('a changed file is swapped under traffic; one that cannot be loaded leaves what was there', async () => {
  const outcomes = new Set<string>();
  let going = true;
  const callers = Array.from({ length: 4 }, async () => {
    while (going)
      await infer('identity', [row]).then(
        () => outcomes.add('ok'),
        (error) => outcomes.add(error.reason),
      );
  });
  const producer = async () =>
    (await world.oip.modelMetadata({ name: 'identity', version: '' })).parameters.get('producer')?.parameterChoice
      ?.value;
  const digests = new Set<string>();
  for (const name of ['second', 'third']) {
    world.write('identity/1/model.onnx', otherBytes(name));
    await expect.poll(producer, { timeout: 10_000 }).toBe(name);
    digests.add((await world.index()).find((line) => line.startsWith('identity 1 READY')) ?? '');
  }
  expect(digests.size).toBe(2);
  world.write('identity/1/model.onnx', identityBytes.subarray(0, 50));
  await world.indexed('identity 1 READY', 'what is there now is not', 'could not be loaded');
  world.write('identity/config.pbtxt', 'max_batch_size: x');
  await world.indexed('identity 1 READY', 'line 1, column 1', 'takes a whole number');
  world.remove('identity/config.pbtxt');
  world.write('identity/1/model.onnx', identityBytes);
  await world.indexed('identity 1 READY: serves');
  going = false;
  await Promise.all(callers);
  expect([...outcomes]).toEqual(['ok']);
}, 60_000);

test('a new version takes over, a removed one is unloaded, and a folder that comes late is served', async () => {
  world.write('identity/2/model.onnx', otherBytes('v2'));
  await world.indexed('identity 2 READY');
  expect((await infer('identity', [row])).modelVersion).toBe('2');
  await world.indexed('identity 1 UNAVAILABLE: not wanted by the version policy');
  world.write('identity/3/model.onnx', identityBytes.subarray(0, 70));
  await world.indexed('identity 3 UNAVAILABLE', 'could not be loaded');
  expect((await infer('identity', [row])).modelVersion).toBe('2');
  world.remove('identity/3');
  world.remove('identity/2');
  await world.indexed('identity 1 READY');
  expect((await infer('identity', [row])).modelVersion).toBe('1');
  world.write('late/1/model.onnx', identityBytes);
  await world.indexed('late 1 READY');
  world.remove('late');
  await expect
    .poll(
      () =>
        infer('late', [row]).then(
          () => 'ok',
          (error) => error.reason,
        ),
      { timeout: 10_000 },
    )
    .toBe('UNKNOWN_MODEL');
});

test('a model is unloaded and stays so; a load brings it back', async () => {
  await world.oip.repositoryModelUnload({ repositoryName: '', modelName: 'named', parameters: new Map() });
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(await world.index()).toContain('named 7 UNAVAILABLE: unloaded');
  expect(await world.oip.modelReady({ name: 'named', version: '' })).toEqual({ ready: false });
  expect((await world.http('POST', '/v2/repository/models/named/load')).status).toBe(200);
  expect(await world.oip.modelReady({ name: 'named', version: '' })).toEqual({ ready: true });
  expect(await world.http('POST', '/v2/repository/models/nope/load')).toMatchObject({ status: 404 });
});

test('a load brings a configuration, and files that are on no disk of the server; a failed one leaves what was there', async () => {
  const text = (value: string) => ({ parameterChoice: { $case: 'stringParam' as const, value } });
  const bytes = (value: Buffer) => ({ parameterChoice: { $case: 'bytesParam' as const, value } });
  const load = (
    modelName: string,
    parameters: Readonly<Record<string, ReturnType<typeof text> | ReturnType<typeof bytes>>>,
  ) =>
    world.oip.repositoryModelLoad({ repositoryName: '', modelName, parameters: new Map(Object.entries(parameters)) });
  await load('identity', { config: text(JSON.stringify({ max_batch_size: 2, dynamicBatching: {} })) });
  expect((await world.oip.modelConfig({ name: 'identity', version: '' })).config?.maxBatchSize).toBe(2);
  await expect(load('identity', { config: text('{"max_batch_size": -2}') })).rejects.toThrow('max_batch_size is -2');
  expect((await world.oip.modelConfig({ name: 'identity', version: '' })).config?.maxBatchSize).toBe(2);
  await expect(load('identity', { 'file:1/model.onnx': bytes(identityBytes) })).rejects.toThrow(
    'files need a configuration',
  );
  await expect(load('identity', { config: text('{}'), 'file:../x': bytes(identityBytes) })).rejects.toThrow(
    'takes file:<version>/<name>',
  );
  await expect(load('identity', { other: text('1') })).rejects.toThrow('"other" is none');
  await load('identity', {});
  expect((await world.oip.modelConfig({ name: 'identity', version: '' })).config?.maxBatchSize).toBe(0);

  await load('sent', {
    config: text('{"version_policy": {"all": {}}}'),
    'file:3/model.onnx': bytes(identityBytes),
    'file:5/model.onnx': bytes(otherBytes('five')),
  });
  expect((await infer('sent', [row])).modelVersion).toBe('5');
  expect((await infer('sent', [row], { modelVersion: '3' })).modelVersion).toBe('3');
  await expect(
    load('sent', { config: text('{}'), 'file:6/model.onnx': bytes(identityBytes.subarray(0, 40)) }),
  ).rejects.toMatchObject({ reason: 'MODEL_LOAD_FAILED' });
  expect((await infer('sent', [row])).modelVersion).toBe('5');
  const tree = await world.http('POST', '/v2/repository/models/sent-json/load', {
    parameters: { config: '{}', 'file:1/model.onnx': identityBytes.toString('base64') },
  });
  expect(tree).toEqual({ status: 200, body: {} });
  expect((await infer('sent-json', [row])).modelVersion).toBe('1');
  await world.oip.repositoryModelUnload({ repositoryName: '', modelName: 'sent', parameters: new Map() });
  await expect(infer('sent', [row])).rejects.toMatchObject({ reason: 'UNKNOWN_MODEL' });
});
