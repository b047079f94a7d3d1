import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inference, type oip } from '@millrace/contracts';
import type { MeshError } from '@millrace/kernel';
import { connect } from '@millrace/rpc';
import { deployment } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  customDir,
  customModel,
  floats,
  logisticCustom,
  logisticOnnx,
  moody,
  sentiment,
  texts,
  textsOf,
} from './custom-world.ts';
import { type OipWorld, openOipWorld } from './oip-world.ts';

/** Models written in TypeScript, in processes of their own behind a real service. */
let world: OipWorld;

beforeAll(async () => {
  world = await openOipWorld({ MILLRACE_MODEL_DIR: customDir }, []);
  const same = logisticCustom('same');
  const deployed = deployment('same', { owner: 'tests', targets: [{ model: same }] });
  await world.apply(sentiment('sentiment'), moody('moody'), logisticOnnx('plain'), same, deployed);
  await world.ready('sentiment', 'moody', 'plain', 'same');
}, 120_000);

afterAll(() => world?.close());

const order = (...orders: readonly string[]) => world.oip.modelInfer(texts('moody', 'order', orders));
const failureOf = (call: Promise<unknown>) =>
  call.then(
    () => expect.fail('it answered'),
    (error: MeshError) => error,
  );

test('a model of TypeScript answers over gRPC, with its files and parameters, and says what it takes', async () => {
  const answer = await world.oip.modelInfer(
    texts('sentiment', 'text', ['good, great!', 'late again', 'good but late'], [1]),
  );
  expect(answer.outputs.map(({ name, shape }) => [name, shape])).toEqual([
    ['score', [3n, 1n]],
    ['label', [3n, 1n]],
  ]);
  expect(answer.outputs[0]?.contents?.fp32Contents).toEqual([3.5, -0.5, 1]);
  expect(textsOf(answer, 1)).toEqual(['positive', 'negative', 'positive']);
  const metadata = await world.oip.modelMetadata({ name: 'sentiment', version: '' });
  expect(metadata).toMatchObject({
    platform: 'custom',
    inputs: [{ name: 'text', datatype: 'BYTES', shape: [-1n, 1n] }],
    outputs: [
      { name: 'score', datatype: 'FP32' },
      { name: 'label', datatype: 'BYTES' },
    ],
  });
});

test('and over REST', async () => {
  const response = await fetch(`http://${world.http}/v2/models/sentiment/infer`, {
    method: 'POST',
    body: JSON.stringify({ inputs: [{ name: 'text', datatype: 'BYTES', shape: [1, 1], data: ['bad'] }] }),
  });
  expect(await response.json()).toMatchObject({
    outputs: [
      { name: 'score', datatype: 'FP32', shape: [1, 1], data: [-1.5] },
      { name: 'label', data: ['negative'] },
    ],
  });
});

test('a logistic regression in JavaScript says what its ONNX file says, through Predict too', async () => {
  const rows = [
    [0.5, -1],
    [1.25, 2],
    [-3, 0],
  ];
  const [onnx, custom] = await Promise.all(
    ['plain', 'same'].map((name) => world.oip.modelInfer(floats(name, 'X', rows))),
  );
  const wanted = onnx?.outputs.find(({ name }) => name === 'probabilities')?.contents?.fp32Contents ?? [];
  const given = custom?.outputs[0]?.contents?.fp32Contents ?? [];
  expect(given).toHaveLength(6);
  for (const [at, value] of given.entries()) expect(value).toBeCloseTo(wanted[at] ?? Number.NaN, 6);

  const predictions = connect(inference.PredictionServiceService, world.grpc, { defaultTimeoutMs: 20_000 });
  const predicted = await predictions.predict(
    inference.PredictRequest.fromPartial({
      deployment: 'same',
      requestData: [
        { name: 'delay', doubles: rows.map(([delay = 0]) => delay) },
        { name: 'wind', doubles: rows.map(([, wind = 0]) => wind) },
      ],
    } as never),
  );
  predictions.close();
  expect(predicted.predictions).toHaveLength(3);
  for (const [at, { score }] of predicted.predictions.entries())
    expect(score).toBeCloseTo(given[2 * at + 1] ?? Number.NaN, 6);
});

test('attributions of a custom model are sampled, with the reason', async () => {
  const answer = await world.oip.modelInfer({
    ...floats('same', 'X', [[1, 2]]),
    parameters: new Map<string, oip.InferParameter>([
      ['explain', { parameterChoice: { $case: 'boolParam', value: true } }],
      ['explain_background', { parameterChoice: { $case: 'stringParam', value: '[[0,0],[1,1]]' } }],
    ]),
  });
  expect(answer.outputs.map(({ name }) => name)).toContain('explanation_values');
  expect(answer.parameters.get('explanation_note')?.parameterChoice?.value).toContain('it is a custom model');
});

test('what it throws is told to its caller alone, and it goes on in the same process', async () => {
  const [pid] = textsOf(await order('pid'));
  const calls = await Promise.allSettled([order('a'), order('throw'), order('b'), order('c')]);
  expect(calls.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
  const failure = await failureOf(order('ok', 'throw'));
  expect(failure.reason).toBe('MODEL_RUN_FAILED');
  expect(failure.message).toMatch(/^model "moody" failed: RangeError: order 1 said so \(moody\.ts:\d+:\d+\)$/);
  expect(textsOf(await order('pid'))).toEqual([pid]);
});

test.each([
  ['short', 'output "answer" has 2 elements and shape [1], which is 1'],
  ['kind', 'output "answer" is Float32Array; data of BYTES is an Array of strings'],
  ['rows', 'output "answer" has shape [3] for 1 rows'],
  ['nothing', 'output "answer" was not given'],
])('an answer that is %s is the model’s fault, and said to be', async (what, message) => {
  const failure = await failureOf(order(what));
  expect(failure.reason).toBe('MODEL_RUN_FAILED');
  expect(failure.message).toContain(message);
});

test.each([
  ['exit', 'its process ended with exit code 7'],
  ['crash', 'nobody caught this'],
  ['loop', 'predict took longer than 800 ms, its limit'],
  ['never', 'predict took longer than 800 ms, its limit'],
  ['heap', 'it took more than its 64 MiB of memory'],
  ['buffers', 'it took more than its 64 MiB of memory'],
])('a model that does %s is started again, and its next caller is answered', async (what, message) => {
  const [before] = textsOf(await order('pid'));
  const startMs = performance.now();
  const failure = what === 'crash' ? await crash() : await failureOf(order(what));
  expect(failure.reason).toBe('MODEL_RUN_FAILED');
  expect(failure.message).toContain(message);
  const failedMs = performance.now();
  expect(textsOf(await order('ok'))).toEqual(['did ok']);
  expect(textsOf(await order('pid'))).not.toEqual([before]);
  console.log(
    `${what}: told after ${Math.round(failedMs - startMs)} ms, answers again ${Math.round(performance.now() - failedMs)} ms later`,
  );
});

/** The rejection comes after the answer, and ends the process: the call after it finds out, or the next process answers. */
async function crash(): Promise<MeshError> {
  return failureOf(order('crash', 'never'));
}

test('callers whose requests shared a run with one that ends the process are answered all the same', async () => {
  const calls = await Promise.allSettled([order('a'), order('b'), order('exit'), order('c'), order('d'), order('e')]);
  expect(calls.map((call) => (call.status === 'fulfilled' ? textsOf(call.value)[0] : 'failed'))).toEqual([
    'did a',
    'did b',
    'failed',
    'did c',
    'did d',
    'did e',
  ]);
});

test('a model that is lost three times in a row is left alone, and answers again within a second and a half', async () => {
  for (let loss = 0; loss < 3; loss++) await failureOf(order('exit'));
  const openedMs = performance.now();
  const refused = await failureOf(order('ok'));
  expect(refused.reason).toBe('MODEL_NOT_READY');
  expect(refused.message).toContain('failed again and again');
  expect((await world.oip.modelReady({ name: 'moody', version: '' })).ready).toBe(false);
  expect((await world.oip.modelReady({ name: 'plain', version: '' })).ready).toBe(true);
  await eventually(async () => expect(textsOf(await order('ok'))).toEqual(['did ok']), { timeoutMs: 5_000 });
  const tookMs = performance.now() - openedMs;
  console.log(`breaker: answers again ${Math.round(tookMs)} ms after it opened`);
  expect(tookMs).toBeGreaterThan(800);
  expect(tookMs).toBeLessThan(3_000);
  expect((await world.oip.modelReady({ name: 'moody', version: '' })).ready).toBe(true);
  for (const event of ['custom_model_breaker_opened', 'custom_model_breaker_closed'])
    expect(world.service.logs()).toContain(event);
});

test('one that goes on failing is tried ever more rarely, and is back as soon as it does not', async () => {
  for (let loss = 0; loss < 3; loss++) await failureOf(order('exit'));
  const restarts = () => world.service.logs().split('custom_model_restarted').length;
  const before = restarts();
  const untilMs = performance.now() + 5_000;
  let refused = 0;
  while (performance.now() < untilMs) {
    const { reason } = await failureOf(order('exit'));
    if (reason === 'MODEL_NOT_READY') refused++;
    await sleep(20);
  }
  // tried after 1, 3 and 7 s
  expect(restarts() - before).toBeLessThanOrEqual(4);
  expect(refused).toBeGreaterThan(50);
  await eventually(async () => expect(textsOf(await order('ok'))).toEqual(['did ok']), { timeoutMs: 8_000 });
});

test('while one model loops, others answer as fast as before', async () => {
  const ask = async () => {
    const startMs = performance.now();
    await world.oip.modelInfer(floats('plain', 'X', [[1, 2]]));
    return performance.now() - startMs;
  };
  const p99 = async (calls: number) => {
    const took: number[] = [];
    for (let call = 0; call < calls; call++) took.push(await ask());
    return took.sort((a, b) => a - b)[Math.floor(calls * 0.99) - 1] ?? Number.NaN;
  };
  await p99(100);
  const alone = await p99(200);
  const looping = failureOf(order('loop'));
  await sleep(20);
  const beside = await p99(100);
  await looping;
  console.log(`p99 of another model: ${alone.toFixed(1)} ms alone, ${beside.toFixed(1)} ms while one loops`);
  expect(beside).toBeLessThan(Math.max(50, 10 * alone));
});

test('a caller with a deadline hears of it in time', async () => {
  const startMs = performance.now();
  const failure = await failureOf(world.oip.modelInfer(texts('moody', 'order', ['loop']), { timeoutMs: 200 }));
  expect(failure.reason).toBe('DEADLINE_EXCEEDED');
  expect(performance.now() - startMs).toBeLessThan(450);
  await eventually(async () => expect(textsOf(await order('ok'))).toEqual(['did ok']));
});

test('it has none of the service’s environment, reads no files and starts no threads', async () => {
  expect(textsOf(await order('env'))).toEqual(['']);
  expect(textsOf(await order('read'))[0]).toContain('restricted');
  expect(textsOf(await order('thread'))[0]).toContain('restricted');
});

test('what it prints is in the log under its name, cut, and not all of it', async () => {
  await order('print');
  const lines = await eventually(() => {
    const said = world.service
      .logs()
      .split('\n')
      .filter((line) => line.includes('custom_model_said') && line.includes('xxx'));
    return said.length > 0 && said;
  });
  expect(lines.length).toBeLessThanOrEqual(40);
  for (const line of lines) {
    expect(JSON.parse(line)).toMatchObject({ model: 'moody' });
    expect(line.length).toBeLessThan(1_500);
  }
});

test.each([
  ['two-files.ts', 'imports "./moody.ts"; a custom model is one file'],
  ['no-signature.mjs', 'exports no signature'],
  ['wrong-signature.mjs', 'signature.inputs.0.datatype: is no datatype'],
  ['never-loads.ts', 'load took longer than 1 s, its limit'],
])('module %s is refused with what to do, and others are served', async (file, message) => {
  const name = file.replace(/\W/g, '-');
  await world.apply(customModel(name, file, { custom: { loadTimeout: '1s' } }));
  const said = () =>
    world.oip.modelInfer(floats(name, 'x', [[1]])).then(
      () => 'answered',
      (error: MeshError) => `${error.reason} ${error.message}`,
    );
  await eventually(async () => expect(await said()).toContain(message), { timeoutMs: 15_000 });
  expect(await said()).toContain('MODEL_LOAD_FAILED');
  expect(textsOf(await order('ok'))).toEqual(['did ok']);
});

test('a definition that asks for what there is not is refused when it is applied', async () => {
  const wrong = (options: Parameters<typeof customModel>[2]) =>
    world.apply(customModel('wrong', 'moody.ts', options)).then(
      () => 'applied',
      (error: MeshError) => error.message,
    );
  expect(await wrong({ custom: { memoryMib: 8 } })).toContain('8 is not from 16 to 65536');
  expect(await wrong({ format: 'onnx', custom: {} })).toContain('is for models of format custom');
  expect(await wrong({ uri: 'weights.json' })).toContain('is no module');
});

test('a new version takes over without a failed call, and the process of the old one ends', async () => {
  await world.apply(moody('swapped'));
  await world.ready('swapped');
  const ask = async () => textsOf(await world.oip.modelInfer(texts('swapped', 'order', ['pid'])))[0];
  const old = await ask();
  let [isOver, calls] = [false, 0];
  const load = (async () => {
    while (!isOver) {
      await ask();
      calls++;
    }
  })();
  await world.apply(moody('swapped', '900ms'));
  await eventually(async () => expect(await ask()).not.toBe(old), { timeoutMs: 20_000 });
  isOver = true;
  await load;
  expect(calls).toBeGreaterThan(10);
  await eventually(() => !isAlive(Number(old)));
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

test('the example of the documentation is the model of these tests', () => {
  const docs = readFileSync(join(customDir, '..', '..', '..', 'docs', 'custom-models.md'), 'utf8');
  expect(docs).toContain(readFileSync(join(customDir, 'sentiment.ts'), 'utf8'));
});

test('when the service is killed, the processes of its models end, also one that loops', async () => {
  const pid = Number(textsOf(await order('pid'))[0]);
  void failureOf(order('loop'));
  await sleep(100);
  expect(isAlive(pid)).toBe(true);
  await world.service.kill9();
  await eventually(() => !isAlive(pid), { timeoutMs: 3_000 });
});
