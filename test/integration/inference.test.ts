import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  expected,
  fp32,
  type InferenceWorld,
  inferRequest,
  models,
  onnxDir,
  onnxModel,
  openInferenceWorld,
  sha256Of,
  type TestInput,
} from './inference-world.ts';

let world: InferenceWorld;

beforeAll(async () => {
  world = await openInferenceWorld();
  await world.applyModels();
}, 180_000);

afterAll(() => world?.close());

const infer = (model: string, inputs: readonly TestInput[], outputs: readonly string[] = []) =>
  world.oip.modelInfer(inferRequest(model, inputs, outputs));

const floatsOf = (bytes: Buffer | undefined) => [...new Float32Array(new Uint8Array(bytes ?? []).buffer)];

function expectClose(given: readonly number[] | undefined, wanted: readonly unknown[] | undefined): void {
  expect(given?.length).toBe(wanted?.length);
  expect(wanted?.length).toBeGreaterThan(0);
  for (const [at, value] of (given ?? []).entries())
    expect(Math.abs(value - Number(wanted?.[at]))).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(value)));
}

test('server and models are live and ready', async () => {
  expect(await world.oip.serverLive({})).toEqual({ live: true });
  expect(await world.oip.serverReady({})).toEqual({ ready: true });
  for (const name of models) expect(await world.oip.modelReady({ name, version: '' })).toEqual({ ready: true });
  await expect(world.oip.modelReady({ name: 'nope', version: '' })).rejects.toMatchObject({ reason: 'UNKNOWN_MODEL' });
});

test('metadata names the server, and tensors with their types and shapes', async () => {
  expect(await world.oip.serverMetadata({})).toMatchObject({ name: 'millrace', version: expect.stringMatching(/^\d/) });
  const metadata = (name: string) => world.oip.modelMetadata({ name, version: '' });
  expect(await metadata('two-inputs')).toEqual({
    name: 'two-inputs',
    versions: [expect.stringMatching(/^[0-9a-f]{12}$/)],
    platform: 'onnxruntime_onnx',
    inputs: [
      { name: 'amounts', datatype: 'FP32', shape: [-1n, 2n] },
      { name: 'count', datatype: 'INT64', shape: [-1n, 1n] },
    ],
    outputs: [{ name: 'Y', datatype: 'FP32', shape: [-1n, 1n] }],
    parameters: expect.any(Map),
  });
  const { parameters } = await metadata('logistic-zipmap');
  expect(parameters.get('producer')).toEqual({ parameterChoice: { $case: 'stringParam', value: 'skl2onnx' } });
  expect(parameters.get('labels.output_probability')?.parameterChoice?.value).toBe('["0","1"]');
  expect(parameters.get('batching')?.parameterChoice?.value).toBe('safe');
  expect((await metadata('text')).inputs).toEqual([{ name: 'airport', datatype: 'BYTES', shape: [-1n, 1n] }]);
  // the default export of scikit-learn: its sequence of maps is served as a tensor under the same name
  expect((await metadata('logistic-zipmap')).outputs).toEqual([
    { name: 'output_label', datatype: 'INT64', shape: [-1n] },
    { name: 'output_probability', datatype: 'FP32', shape: [-1n, 2n] },
  ]);
});

test('typed contents are answered typed, as the reference answers', async () => {
  const { inputs, outputs } = expected.linear;
  const answer = await infer('linear', [fp32('X', inputs.X ?? [])]);
  expect(answer).toMatchObject({ modelName: 'linear', id: 'call-1', rawOutputContents: [] });
  expect(answer.modelVersion).toMatch(/^[0-9a-f]{12}$/);
  expect(answer.outputs[0]).toMatchObject({ name: 'Y', datatype: 'FP32', shape: [4n, 1n] });
  expectClose(answer.outputs[0]?.contents?.fp32Contents, outputs.Y?.flat());
});

test('raw contents are answered raw, as the reference answers', async () => {
  const { inputs, outputs } = expected.linear;
  const answer = await infer('linear', [fp32('X', inputs.X ?? [], 'raw')]);
  expect(answer.outputs[0]).toMatchObject({ name: 'Y', datatype: 'FP32', shape: [4n, 1n], contents: undefined });
  expectClose(floatsOf(answer.rawOutputContents[0]), outputs.Y?.flat());
});

test.each([
  ['logistic', 'label', 'probabilities'],
  ['logistic-zipmap', 'output_label', 'output_probability'],
] as const)(
  '%s gives labels and probabilities, and only the output that was asked for',
  async (name, label, scores) => {
    const { inputs, outputs } = expected[name];
    const rows = [fp32('X', inputs.X ?? [])];
    const all = await infer(name, rows);
    expect(all.outputs.map((output) => [output.name, output.shape])).toEqual([
      [label, [6n]],
      [scores, [6n, 2n]],
    ]);
    expect(all.outputs[0]?.contents?.int64Contents.map(Number)).toEqual(outputs[label]);
    expectClose(all.outputs[1]?.contents?.fp32Contents, outputs[scores]?.flat());
    const one = await infer(name, rows, [scores]);
    expect(one.outputs.map((output) => output.name)).toEqual([scores]);
    expectClose(one.outputs[0]?.contents?.fp32Contents, outputs[scores]?.flat());
  },
);

test.each(['typed', 'raw'] as const)('two inputs of different types, %s', async (how) => {
  const { inputs, outputs } = expected['two-inputs'];
  const counts = (inputs.count ?? []).flat().map(BigInt);
  const count = { name: 'count', datatype: 'INT64', shape: [3, 1] };
  const given: TestInput =
    how === 'typed'
      ? { ...count, contents: { int64Contents: counts } }
      : { ...count, raw: Buffer.from(BigInt64Array.from(counts).buffer) };
  // raw contents follow the order of the inputs, which need not be the model's
  const answer = await infer('two-inputs', [given, fp32('amounts', inputs.amounts ?? [], how)]);
  const values = how === 'typed' ? answer.outputs[0]?.contents?.fp32Contents : floatsOf(answer.rawOutputContents[0]);
  expectClose(values, outputs.Y?.flat());
});

test('texts, typed and raw', async () => {
  const { inputs, outputs } = expected.text;
  const texts = (inputs.airport ?? []).flat().map((value) => Buffer.from(String(value)));
  const airport = { name: 'airport', datatype: 'BYTES', shape: [4, 1] };
  const lengthFirst = (text: Buffer) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    return Buffer.concat([length, text]);
  };
  const typed = await infer('text', [{ ...airport, contents: { bytesContents: texts } }]);
  expect(typed.outputs[0]?.contents?.int64Contents.map(Number)).toEqual(outputs.code?.flat());
  expect(typed.outputs[1]?.contents?.bytesContents).toEqual(texts);
  const encoded = Buffer.concat(texts.map(lengthFirst));
  const raw = await infer('text', [{ ...airport, raw: encoded }]);
  expect(raw.rawOutputContents[1]).toEqual(encoded);
});

const x = fp32('X', [[1, 2, 3]]);
const raw = fp32('X', [[1, 2, 3]], 'raw');
const notFound = 5;
const invalid = 3;

test.each<[string, string, readonly TestInput[], number, string, readonly string[]]>([
  ['an unknown model', 'nope', [x], notFound, 'UNKNOWN_MODEL', ['"nope"', 'models: linear']],
  ['no input', 'linear', [], invalid, 'MISSING_MODEL_INPUT', ['"X"', 'FP32 [-1,3]']],
  ['an input too many', 'linear', [x, { ...x, name: 'Z' }], invalid, 'INVALID_ARGUMENT', ['"Z"', 'its inputs: X']],
  ['an input twice', 'linear', [x, x], invalid, 'INVALID_ARGUMENT', ['"X"', 'once']],
  ['too few columns', 'linear', [fp32('X', [[1, 2]])], invalid, 'WRONG_TENSOR_SHAPE', ['"X"', '[-1,3]', '[1,2]']],
  [
    'too few values',
    'linear',
    [{ ...x, shape: [2, 3] }],
    invalid,
    'WRONG_TENSOR_SHAPE',
    ['6 elements', '3 were given'],
  ],
  [
    'another datatype',
    'linear',
    [{ ...x, datatype: 'FP64', contents: { fp64Contents: [1, 2, 3] } }],
    invalid,
    'WRONG_TENSOR_TYPE',
    ['"X"', 'is FP32', 'FP64 was given'],
  ],
  ['no datatype', 'linear', [{ ...x, datatype: 'FLOAT' }], invalid, 'WRONG_TENSOR_TYPE', ['"FLOAT"', 'FP32']],
  ['raw bytes cut short', 'linear', [{ ...raw, raw: Buffer.alloc(11) }], invalid, 'WRONG_TENSOR_SHAPE', ['12', '11']],
  ['raw and typed', 'linear', [{ ...raw, ...x }], invalid, 'INVALID_ARGUMENT', ['"X"', 'use one of them']],
  ['no contents', 'linear', [{ ...x, contents: undefined }], invalid, 'MISSING_MODEL_INPUT', ['"X"', 'contents']],
  [
    'texts that run past the end',
    'text',
    [{ name: 'airport', datatype: 'BYTES', shape: [1, 1], raw: Buffer.from([9, 0, 0, 0, 65]) }],
    invalid,
    'WRONG_TENSOR_SHAPE',
    ['"airport"', 'past the end'],
  ],
  [
    'a run that fails',
    'one-row',
    [
      fp32('X', [
        [1, 2, 3],
        [4, 5, 6],
      ]),
    ],
    13,
    'MODEL_RUN_FAILED',
    ['"one-row"'],
  ],
] as const)('%s is refused with what was given and what to do, and the service goes on', async (...of) => {
  const [, model, inputs, code, reason, words] = of;
  const refused: { message?: string } = await infer(model, inputs).catch((error) => error);
  expect(refused).toMatchObject({ reason, code });
  for (const word of words) expect(refused.message).toContain(word);
  expect(await world.oip.serverLive({})).toEqual({ live: true });
  const { inputs: good, outputs } = expected.linear;
  const answer = await infer('linear', [fp32('X', good.X ?? [])]);
  expectClose(answer.outputs[0]?.contents?.fp32Contents, outputs.Y?.flat());
});

test('an output that the model does not have is refused', async () => {
  await expect(infer('linear', [x], ['Z'])).rejects.toMatchObject({
    reason: 'INVALID_ARGUMENT',
    message: expect.stringMatching(/"Z".*its outputs: Y/),
  });
});

test('bytes with another digest, bytes that are no model and a missing file are not served and say why, until they are mended', async () => {
  const digest = 'ab'.repeat(32);
  await world.apply(
    onnxModel('tampered', { file: 'linear', sha256: digest }),
    onnxModel('absent', { uri: 'absent.onnx', file: 'linear' }),
    onnxModel('escaping', { uri: '../linear.onnx', file: 'linear' }),
    onnxModel('noise', { uri: 'expected.json', sha256: sha256Of('expected.json'), file: 'linear' }),
  );
  const cases: [string, RegExp][] = [
    ['tampered', new RegExp(`"linear.onnx" has SHA-256 [0-9a-f]{64}, not ${digest}`)],
    ['absent', /no file "absent.onnx" in the model repository/],
    ['escaping', /"..\/linear.onnx" leads out of the model repository/],
    ['noise', /"noise" could not be loaded/],
  ];
  for (const [name, message] of cases) {
    await expect.poll(() => infer(name, [x]).catch((error) => error.message), { timeout: 20_000 }).toMatch(message);
    expect(await world.oip.modelReady({ name, version: '' })).toEqual({ ready: false });
  }
  expect(await world.oip.serverReady({})).toEqual({ ready: true });

  copyFileSync(join(onnxDir, 'linear.onnx'), join(world.dir, 'models', 'absent.onnx'));
  await world.allReady('absent');
});

const slow = (turns: number): TestInput[] => [
  x,
  { name: 'turns', datatype: 'INT64', shape: [], contents: { int64Contents: [BigInt(turns)] } },
];

test('a new version takes over without a call that fails, and the one before finishes what it began', async () => {
  const version = (column: number) => onnxModel('moving', { file: 'slow', output: { name: 'Y', column } });
  await world.apply(version(0));
  await world.allReady('moving');
  const { modelVersion: first } = await infer('moving', slow(0));
  const answers: unknown[] = [];
  const untilSecond = eventually(async () => {
    const answer = await infer('moving', slow(0)).then(({ modelVersion }) => modelVersion, String);
    answers.push(answer);
    return answer !== first && answer;
  });
  await world.apply(version(1));
  const second = await untilSecond;
  expect(second).toMatch(/^[0-9a-f]{12}$/);
  expect(answers.slice(0, -1)).toEqual(new Array(answers.length - 1).fill(first));

  const begun = infer('moving', slow(1_000));
  await world.apply(version(2));
  await eventually(async () => {
    const { versions } = await world.oip.modelMetadata({ name: 'moving', version: '' });
    expect(versions).not.toContain(second);
  });
  expect((await begun).modelVersion).toBe(second);
});

test('a queue that is full refuses with OVERLOADED and when to retry', async () => {
  // both workers compute while the others come
  const busy = [infer('slow', slow(900)), infer('slow', slow(900))];
  const answers = await Promise.allSettled(Array.from({ length: 800 }, () => infer('slow', slow(0))));
  await Promise.all(busy);
  const refused = answers.filter((answer) => answer.status === 'rejected');
  expect(refused.length).toBeGreaterThan(0);
  for (const { reason } of refused)
    expect(reason).toMatchObject({
      reason: 'OVERLOADED',
      code: 8,
      retryAfterMs: expect.any(Number),
      metadata: { limit: '256' },
    });
  // the two that compute may have been counted too, before they began
  expect(answers.length - refused.length).toBeGreaterThanOrEqual(254);
});

test('health and other models answer while a model computes for seconds', async () => {
  let computing = true;
  const sinceMs = performance.now();
  const computed = infer('slow', slow(8_000)).finally(() => {
    computing = false;
  });
  const waitsMs: number[] = [];
  while (computing) {
    const askedMs = performance.now();
    await Promise.all([world.health.check({ service: '' }), infer('linear', [x])]);
    waitsMs.push(performance.now() - askedMs);
  }
  const computedMs = performance.now() - sinceMs;
  await computed;
  expect(waitsMs.length).toBeGreaterThan(10);
  expect(computedMs).toBeGreaterThan(1_000);
  expect(Math.max(...waitsMs)).toBeLessThan(Math.min(500, computedMs / 2));
});

test('a model with a response cache gives an answer again to an equal row, of the same version with and without it', async () => {
  const { inputs, outputs } = expected.linear;
  const version = async () => (await world.oip.modelMetadata({ name: 'linear', version: '' })).versions;
  const before = await version();
  await world.apply(onnxModel('linear', { responseCache: { ttl: '1h' } }));
  const used = async () => {
    const text = await (await fetch(`http://${world.inference.http}/metrics`)).text();
    const of = (use: string) =>
      Number(new RegExp(`cache_rows_total\\{[^}]*model="linear",use="${use}"[^}]*\\} (\\d+)`).exec(text)?.[1] ?? 0);
    return { hit: of('hit'), miss: of('miss') };
  };
  const rows = inputs.X ?? [];
  await eventually(async () => {
    await infer('linear', [fp32('X', rows.slice(0, 2), 'raw')]);
    return (await used()).hit > 0;
  });
  const { hit, miss } = await used();
  const answer = await infer('linear', [fp32('X', [...rows].reverse(), 'raw')]);
  expectClose(floatsOf(answer.rawOutputContents[0]).reverse(), outputs.Y?.flat());
  expect(await used()).toEqual({ hit: hit + 2, miss: miss + 2 });
  expect(await version()).toEqual(before);
});
