import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runMillrace } from './cli-world.ts';
import { fp32, type InferenceWorld, inferRequest, onnxDir, onnxModel, openInferenceWorld } from './inference-world.ts';

let world: InferenceWorld;

beforeAll(async () => {
  world = await openInferenceWorld();
}, 180_000);

afterAll(() => world?.close());

const rows = [
  [1, 2, 3],
  [-1, 0.5, 2],
];
const infer = (model: string) => world.oip.modelInfer(inferRequest(model, [fp32('X', rows)]));
const rest = (path: string, body?: unknown) =>
  fetch(`http://${world.inference.http}/v2/${path}`, body ? { method: 'POST', body: JSON.stringify(body) } : {});

/** A file in the model repository. */
function put(file: string, content: string | Buffer) {
  writeFileSync(join(world.dir, 'models', file), content);
  return { uri: file, sha256: createHash('sha256').update(content).digest('hex') };
}

/** `linear` (3 columns) in bytes of its own: producer_name is another. */
function linear(version: string) {
  const bytes = Buffer.concat([
    readFileSync(join(onnxDir, 'linear.onnx')),
    Buffer.from([2 * 8 + 2, version.length]),
    Buffer.from(version),
  ]);
  return put(`linear-${version}.onnx`, bytes);
}

const line = (id: string, outputs: readonly unknown[]) =>
  `${JSON.stringify({ id, inputs: [{ name: 'X', shape: [2, 3], datatype: 'FP32', data: rows }], outputs })}\n`;

test('a version that answers its golden file wrongly does not serve, the one before does, and everybody who asks is told why', async () => {
  await world.apply(onnxModel('guarded', { file: 'linear', ...linear('one') }));
  await world.allReady('guarded');
  const before = await infer('guarded');
  const values = before.outputs[0]?.contents?.fp32Contents ?? [];
  expect(values.length).toBe(2);
  const good = line('good', [{ name: 'Y', shape: [2, 1], data: values }]);
  const bad = line('bad', [{ name: 'Y', data: [values[0], (values[1] ?? 0) + 0.5] }]);

  const golden = put('bad.jsonl', good + bad);
  const next = linear('two');
  await world.apply(onnxModel('guarded', { file: 'linear', ...next, golden }));
  const failed = await eventually(async () => {
    const { models } = await world.oip.repositoryIndex({ repositoryName: '', ready: false });
    const found = models.find(({ name, state, reason }) => name === 'guarded' && state === 'UNAVAILABLE' && reason);
    return found ?? false;
  });
  expect(failed.version).not.toBe(before.modelVersion);
  expect(failed.reason).toContain(
    'golden check of model "guarded": request "bad" (line 2) of "bad.jsonl": output "Y" element [1,0] is',
  );
  expect(failed.reason).toContain(`is ${values[1]}, expected ${(values[1] ?? 0) + 0.5}`);

  // the version before serves, by no version and by its own
  expect((await infer('guarded')).modelVersion).toBe(before.modelVersion);
  expect(await world.oip.modelReady({ name: 'guarded', version: '' })).toEqual({ ready: true });
  expect(await world.oip.modelReady({ name: 'guarded', version: before.modelVersion })).toEqual({ ready: true });
  expect(await world.oip.modelReady({ name: 'guarded', version: failed.version })).toEqual({ ready: false });
  const notReady = await rest(`models/guarded/versions/${failed.version}/ready`);
  expect(notReady.status).toBe(400);
  expect(await notReady.json()).toEqual({ name: 'guarded', ready: false, reason: failed.reason });
  await expect(
    world.oip.modelInfer({ ...inferRequest('guarded', [fp32('X', rows)]), modelVersion: failed.version }),
  ).rejects.toMatchObject({ reason: 'GOLDEN_CHECK_FAILED', metadata: { output: 'Y', element: '[1,0]' } });
  const { models } = await world.oip.repositoryIndex({ repositoryName: '', ready: true });
  expect(models.filter(({ name }) => name === 'guarded').map(({ version }) => version)).toEqual([before.modelVersion]);

  // another golden file makes no other version, and the one that failed is checked again
  await world.apply(onnxModel('guarded', { file: 'linear', ...next, golden: put('good.jsonl', good) }));
  await eventually(async () => (await infer('guarded')).modelVersion === failed.version);
  expect(world.inference.logs()).toMatch(/"event":"model_failed".*"reason":"GOLDEN_CHECK_FAILED".*"output":"Y"/);
});

test('swaps under load fail nobody, answer with either version, and leave one session for each worker', async () => {
  await world.apply(onnxModel('swapped', { file: 'linear', ...linear('swap-0') }));
  await world.allReady('swapped');
  const sessions = async () => {
    const text = await (await rest('../metrics')).text();
    return Number(/^millrace_inference_sessions(?:\{[^}]*\})? (\d+)/m.exec(text)?.[1]);
  };
  const before = await sessions();
  expect(before).toBeGreaterThan(0);
  const answered = new Map<string, number>();
  const errors: unknown[] = [];
  let isOver = false;
  const callers = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      await infer('swapped').then(
        ({ modelVersion }) => answered.set(modelVersion, (answered.get(modelVersion) ?? 0) + 1),
        (error) => errors.push(error),
      );
    }
  });
  const swaps = 30;
  let version = '';
  for (let at = 1; at <= swaps; at++) {
    await world.apply(onnxModel('swapped', { file: 'linear', ...linear(`swap-${at}`) }));
    version = await eventually(async () => {
      const { modelVersion } = await infer('swapped');
      return modelVersion !== version && modelVersion;
    });
  }
  isOver = true;
  await Promise.all(callers);
  expect(await sessions()).toBe(before);
  expect(errors).toEqual([]);
  expect(answered.size).toBeGreaterThanOrEqual(swaps);
  const { versions } = await world.oip.modelMetadata({ name: 'swapped', version: '' });
  expect(versions).toEqual([version]);
}, 60_000);

test('millrace model golden records what a version answers, rows and requests alike, and the next version is checked with it', async () => {
  await world.apply(onnxModel('recorded', { file: 'linear', ...linear('rec-1') }));
  await world.allReady('recorded');
  const endpoints = join(world.dir, 'endpoints.json');
  const { grpc, http } = world.inference;
  writeFileSync(endpoints, JSON.stringify({ services: { 'model-inference': { grpc, http } }, stores: {} }));
  const millrace = (...args: readonly string[]) =>
    runMillrace(join(world.dir, 'models'), ['--endpoints', endpoints, '--json', 'model', 'golden', ...args]);
  const request = { id: 'two', inputs: [{ name: 'X', shape: [2, 3], datatype: 'FP32', data: rows }] };
  put('requests.jsonl', `${JSON.stringify({ X: [1, 2, 3] })}\n\n${JSON.stringify(request)}\n`);
  const result = await millrace('recorded', '--requests', 'requests.jsonl', '--out', 'golden.jsonl', '--atol', '0.25');
  expect(result.err).toBe('');
  const { golden, requests, version } = result.json<{
    golden: { uri: string; sha256: string };
    requests: number;
    version: string;
  }>();
  expect(requests).toBe(2);
  expect(version).toBe((await infer('recorded')).modelVersion);
  const recorded = readFileSync(join(world.dir, 'models', 'golden.jsonl'), 'utf8');
  const [first, second] = recorded
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text));
  expect(first).toMatchObject({ inputs: [{ shape: [1, 3] }], outputs: [{ name: 'Y' }], parameters: { atol: 0.25 } });
  expect(second.id).toBe('two');
  expect(second.outputs[0].data).toEqual((await infer('recorded')).outputs[0]?.contents?.fp32Contents);

  // what was recorded is recorded again
  await millrace('recorded', '--requests', 'golden.jsonl', '--out', 'again.jsonl');
  expect(readFileSync(join(world.dir, 'models', 'again.jsonl'), 'utf8')).toBe(recorded);

  await world.apply(onnxModel('recorded', { file: 'linear', ...linear('rec-2'), golden }));
  await eventually(async () => (await infer('recorded')).modelVersion !== version);
  // one that takes a row at a time cannot answer the second request
  const before = (await infer('recorded')).modelVersion;
  await world.apply(onnxModel('recorded', { file: 'one-row', golden }));
  await eventually(async () => {
    const { models } = await world.oip.repositoryIndex({ repositoryName: '', ready: false });
    return models.some(
      ({ name, reason }) => name === 'recorded' && reason.includes('golden check of model "recorded"'),
    );
  });
  expect((await infer('recorded')).modelVersion).toBe(before);

  const unknown = await millrace('nope', '--requests', 'requests.jsonl', '--out', 'nope.jsonl');
  expect(unknown.code).toBe(1);
  expect(unknown.out + unknown.err).toContain('there is no model \\"nope\\"');
}, 60_000);
