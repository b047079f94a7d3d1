import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fp32, inferRequest, onnxDir, type TestInput } from './inference-world.ts';
import { oipDir } from './oip-world.ts';
import { identityBytes, openRepositoryWorld, type RepositoryWorld } from './repository-world.ts';

/** Requests and models that are wrong or mean harm: each is refused with its own error, and another model answers all the while. */
let world: RepositoryWorld;
let bystander: { stop(): Promise<{ readonly answers: number; readonly errors: readonly string[] }> };

const hostile = ['expand', 'loop', 'endless', 'external', 'absurd-weight', 'unknown-operator', 'deep'] as const;
const row = fp32('IN', [[1, 2, 3, 4]]);
const count = (value: bigint) => ({
  name: 'N',
  datatype: 'INT64',
  shape: [1, 1],
  contents: { int64Contents: [value] },
});

beforeAll(async () => {
  const files = hostile.map(
    (name) => [`${name}/1/model.onnx`, readFileSync(join(onnxDir, 'hostile', `${name}.onnx`))] as const,
  );
  world = await openRepositoryWorld(
    {
      'good/1/model.onnx': identityBytes,
      'pair/1/model.onnx': readFileSync(join(onnxDir, 'two-inputs.onnx')),
      'wide/1/model.onnx': readFileSync(join(oipDir, 'wide.onnx')),
      'truncated/1/model.onnx': identityBytes.subarray(0, identityBytes.length - 9),
      'text/1/model.onnx': '{"not": "onnx"}',
      ...Object.fromEntries(files),
    },
    {
      MILLRACE_INFERENCE_RUN_MAX_MS: '1500',
      MILLRACE_INFERENCE_LONG_RUN_MS: '300',
      MILLRACE_INFERENCE_WORKERS: '2',
      MILLRACE_INFERENCE_MEMORY_BYTES_MAX: String(6 * 2 ** 30),
    },
  );
  await world.indexed('good 1 READY');
  bystander = watch();
  for (const name of ['pair', 'wide', 'loop']) await world.indexed(`${name} 1 READY`);
  await world.indexed('expand 1 READY');
}, 120_000);

afterAll(() => world?.close());

const infer = (model: string, inputs: readonly TestInput[], more: object = {}) =>
  world.oip.modelInfer({ ...inferRequest(model, inputs), ...more });

function watch() {
  let going = true;
  let answers = 0;
  const errors: string[] = [];
  const done = (async () => {
    while (going) {
      await infer('good', [row]).then(
        ({ outputs }) => void (outputs[0]?.contents?.fp32Contents[3] === 4 ? answers++ : errors.push('another answer')),
        (error) => void errors.push(String(error)),
      );
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return {
    async stop() {
      going = false;
      await done;
      return { answers, errors };
    },
  };
}

test.each([
  ['a negative dimension', { ...row, shape: [-1, 4] }, 'WRONG_TENSOR_SHAPE', 'cannot have shape [-1,4]'],
  [
    'dimensions whose product overflows',
    { ...row, shape: [2 ** 31 - 1, 2 ** 31 - 1] },
    'WRONG_TENSOR_SHAPE',
    'cannot have shape',
  ],
  ['a dimension above 2^31', { ...row, shape: [2 ** 40, 4] }, 'WRONG_TENSOR_SHAPE', 'cannot have shape'],
  [
    'more elements than values',
    { ...row, shape: [2 ** 20, 4] },
    'WRONG_TENSOR_SHAPE',
    '4194304 elements, and 4 were given',
  ],
  ['no dimension', { ...row, shape: [] }, 'WRONG_TENSOR_SHAPE', '1 elements, and 4 were given'],
  ['another width', fp32('IN', [[1, 2, 3]]), 'WRONG_TENSOR_SHAPE', 'has shape [-1,4] (-1: any) and [1,3] was given'],
  [
    'another datatype',
    { ...row, datatype: 'FP64', contents: { fp64Contents: [1, 2, 3, 4] } },
    'WRONG_TENSOR_TYPE',
    'is FP32 and FP64 was given',
  ],
  ['no datatype', { ...row, datatype: 'FLOAT' }, 'WRONG_TENSOR_TYPE', '"FLOAT" is not a datatype'],
  ['another name', { ...row, name: 'in' }, 'INVALID_ARGUMENT', 'no input "in"; its inputs: IN'],
  ['no contents', { name: 'IN', datatype: 'FP32', shape: [1, 4] }, 'MISSING_MODEL_INPUT', 'neither contents nor raw'],
  [
    'raw bytes that are too few',
    { ...row, contents: undefined, raw: Buffer.alloc(15) },
    'WRONG_TENSOR_SHAPE',
    'takes 16 raw bytes and 15',
  ],
  [
    'raw bytes that are too many',
    { ...row, contents: undefined, raw: Buffer.alloc(17) },
    'WRONG_TENSOR_SHAPE',
    'takes 16 raw bytes and 17',
  ],
  [
    'raw and typed at once',
    { ...row, raw: Buffer.alloc(16) },
    'INVALID_ARGUMENT',
    'has contents although raw_input_contents is used',
  ],
])('%s is INVALID_ARGUMENT with what was expected', async (_, input, reason, message) => {
  await expect(infer('good', [input as TestInput])).rejects.toMatchObject({
    reason,
    code: 3,
    message: expect.stringContaining(message),
  });
});

test('extra, missing and repeated inputs, and outputs that are none, are named', async () => {
  await expect(infer('good', [row, { ...row, name: 'Z' }])).rejects.toMatchObject({
    code: 3,
    message: expect.stringContaining('no input "Z"'),
  });
  await expect(infer('good', [row, row])).rejects.toMatchObject({
    code: 3,
    message: expect.stringContaining('given twice'),
  });
  await expect(infer('pair', [])).rejects.toMatchObject({ reason: 'MISSING_MODEL_INPUT', code: 3 });
  await expect(infer('good', [row], { outputs: [{ name: 'NO', parameters: new Map() }] })).rejects.toMatchObject({
    code: 3,
    message: expect.stringContaining('no output "NO"; its outputs: OUT'),
  });
  await expect(infer('nope', [row])).rejects.toMatchObject({ reason: 'UNKNOWN_MODEL', code: 5 });
  await expect(infer('good', [row], { modelVersion: '9' })).rejects.toMatchObject({ reason: 'UNKNOWN_MODEL', code: 5 });
});

test('NaN and infinities are values, and come back as they are', async () => {
  const { outputs } = await infer('good', [
    fp32('IN', [[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0]]),
  ]);
  expect(outputs[0]?.contents?.fp32Contents).toEqual([
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    -0,
  ]);
});

test('100 MB above the limit are refused with both sizes, and the connection goes on', async () => {
  const raw = Buffer.alloc(100 * 2 ** 20);
  await expect(
    infer('wide', [{ name: 'IN', datatype: 'FP32', shape: [raw.length / 4, 1], raw }]),
  ).rejects.toMatchObject({
    code: 8,
    message: expect.stringMatching(/67108864/),
  });
  await infer('good', [row]);
}, 30_000);

test.each([
  ['truncated', /could not be loaded/],
  ['text', /could not be loaded/],
  ['external', /external|weights in (other|another) file|external_data/],
  ['absurd-weight', /could not be loaded: .*(needs|2\^|bytes)/],
  ['unknown-operator', /NoSuchOperator/],
  ['deep', /nested deeper than 16/],
])('the model "%s" is not loaded, and says why', async (name, reason) => {
  await world.indexed(`${name} 1 UNAVAILABLE`);
  const line = (await world.index()).find((one) => one.startsWith(`${name} `));
  expect(line).toMatch(reason);
  expect(line).not.toContain('root:');
  await expect(infer(name, [count(1n)])).rejects.toMatchObject({ reason: 'MODEL_LOAD_FAILED', code: 14 });
});

test('a run that wants more memory than there may be fails alone, however often it is tried', async () => {
  expect((await infer('expand', [count(5n)])).outputs[0]?.contents?.fp32Contents).toEqual([5]);
  for (const elements of [20_000_000_000n, 2n ** 40n, 2n ** 62n, -3n])
    await expect(infer('expand', [count(elements)]), String(elements)).rejects.toMatchObject({
      reason: 'MODEL_RUN_FAILED',
      code: 13,
    });
  expect((await infer('expand', [count(7n)])).outputs[0]?.contents?.fp32Contents).toEqual([7]);
}, 30_000);

test('a model that runs for ever is not measured for ever: it is not loaded, and others are', async () => {
  await world.indexed('endless 1 UNAVAILABLE', 'was not measured within 1500 ms');
  world.write('later/1/model.onnx', identityBytes);
  await world.indexed('later 1 READY');
}, 30_000);

test('a run that does not end is given up, its worker is replaced, and after two the model is not run any more', async () => {
  expect((await infer('loop', [count(10n)])).outputs[0]?.contents?.fp32Contents).toEqual([10]);
  for (let time = 0; time < 2; time++)
    await expect(infer('loop', [count(2n ** 50n)])).rejects.toMatchObject({
      reason: 'MODEL_RUN_FAILED',
      message: 'model "loop" did not answer within 1500 ms; it is given up',
    });
  await expect(infer('loop', [count(10n)])).rejects.toMatchObject({
    message: expect.stringContaining('is not run any more'),
  });
  const loop = { repositoryName: '', modelName: 'loop', parameters: new Map() };
  await world.oip.repositoryModelUnload(loop);
  await world.oip.repositoryModelLoad(loop);
  expect((await infer('loop', [count(10n)])).outputs[0]?.contents?.fp32Contents).toEqual([10]);
}, 60_000);

test('unloading under load ends what runs, and refuses what comes later', async () => {
  const outcomes = new Set<string>();
  let going = true;
  const callers = Array.from({ length: 6 }, async () => {
    while (going)
      await infer('pair', []).then(
        () => 'ok',
        (error) => void outcomes.add(error.reason),
      );
  });
  await new Promise((resolve) => setTimeout(resolve, 200));
  await world.oip.repositoryModelUnload({ repositoryName: '', modelName: 'pair', parameters: new Map() });
  await expect.poll(() => outcomes.has('UNKNOWN_MODEL'), { timeout: 10_000 }).toBe(true);
  going = false;
  await Promise.all(callers);
  expect([...outcomes].toSorted()).toEqual(['MISSING_MODEL_INPUT', 'UNKNOWN_MODEL']);
});

test('all the while the other model answered, and the process is the same', async () => {
  const { answers, errors } = await bystander.stop();
  expect(errors).toEqual([]);
  expect(answers).toBeGreaterThan(50);
  expect(world.service.running).toBe(true);
});

test('with a limit above it, 100 MB are served', async () => {
  const large = await openRepositoryWorld(
    { 'wide/1/model.onnx': readFileSync(join(oipDir, 'wide.onnx')) },
    { MILLRACE_INFERENCE_MESSAGE_BYTES_MAX: String(160 * 2 ** 20), MILLRACE_INFERENCE_ROWS_MAX: '100000000' },
  );
  try {
    await large.indexed('wide 1 READY');
    const raw = Buffer.alloc(100 * 2 ** 20, 1);
    const binary = JSON.stringify({
      inputs: [
        { name: 'IN', datatype: 'FP32', shape: [raw.length / 4, 1], parameters: { binary_data_size: raw.length } },
      ],
      outputs: [{ name: 'OUT', parameters: { binary_data: true } }],
    });
    const answer = await fetch(`http://${large.service.http}/v2/models/wide/infer`, {
      method: 'POST',
      headers: { 'inference-header-content-length': String(binary.length) },
      body: Buffer.concat([Buffer.from(binary), raw]),
    });
    expect(answer.status, answer.status === 200 ? '' : await answer.clone().text()).toBe(200);
    expect((await answer.arrayBuffer()).byteLength).toBeGreaterThan(raw.length);
  } finally {
    await large.close();
  }
}, 60_000);
