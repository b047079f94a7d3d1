import { createHash } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { denseModel } from '@millrace/onnx/testing';
import { model } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fp32, inferRequest } from './inference-world.ts';
import { type OipWorld, oipDir, openOipWorld } from './oip-world.ts';

let world: OipWorld;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-models-'));
  copyFileSync(join(oipDir, 'identity.onnx'), join(folder, 'identity.onnx'));
  world = await openOipWorld({ MILLRACE_MODEL_DIR: folder }, []);
});

afterAll(async () => {
  await world?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(name: string, bytes: Uint8Array, responseCache?: { ttl: string }): Promise<void> {
  const uri = `${name}.onnx`;
  writeFileSync(join(folder, uri), bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  await world.apply(model(name, { owner: 'tests', uri, sha256, ...(responseCache ? { responseCache } : {}) }));
  await world.ready(name);
}

interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

async function series(name: string): Promise<Series[]> {
  const text = await (await fetch(`http://${world.http}/metrics`)).text();
  return text.split('\n').flatMap((line) => {
    const [, found, labels = '', value] = /^([a-z0-9_]+)\{(.*)\} (\S+)$/.exec(line) ?? [];
    if (found !== name) return [];
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', text = '']) => [key, text]);
    return [{ labels: Object.fromEntries(pairs), value: Number(value) }];
  });
}

const of = async (name: string, labels: Readonly<Record<string, string>>) =>
  (await series(name)).filter((one) => Object.entries(labels).every(([key, value]) => one.labels[key] === value));
const sum = async (name: string, labels: Readonly<Record<string, string>>) =>
  (await of(name, labels)).reduce((total, { value }) => total + value, 0);

const dense = (width: number, rows: number) =>
  fp32(
    'X',
    Array.from({ length: rows }, () => Array.from({ length: width }, (_, at) => at / width)),
    'raw',
  );

test('Triton’s counters and our histograms count requests, failures by reason, rows, runs and times by version', async () => {
  await serve('small', denseModel({ widths: [4, 8, 2], opset: 17 }));
  const call = { model: 'small' };
  expect(await of('nv_inference_request_success', call)).toMatchObject([{ value: 0 }]);
  for (const rows of [1, 3, 6]) await world.oip.modelInfer(inferRequest('small', [dense(4, rows)]));
  const rest = await fetch(`http://${world.http}/v2/models/small/infer`, {
    method: 'POST',
    body: JSON.stringify({ inputs: [{ name: 'X', datatype: 'FP32', shape: [1, 4], data: [1, 2, 3, 4] }] }),
  });
  expect(rest.status).toBe(200);
  await expect(world.oip.modelInfer(inferRequest('small', [dense(3, 1)]))).rejects.toThrow();
  const [success] = await of('nv_inference_request_success', call);
  const { versions } = await world.oip.modelMetadata({ name: 'small', version: '' });
  expect(success).toMatchObject({ value: 4, labels: { model: 'small', version: versions[0] } });
  expect(await sum('nv_inference_count', call)).toBe(11);
  expect(await sum('nv_inference_exec_count', call)).toBe(4);
  expect(await sum('nv_inference_pending_request_count', call)).toBe(0);
  const failures = await of('nv_inference_request_failure', call);
  expect(Object.fromEntries(failures.map(({ labels, value }) => [labels.reason, value]))).toEqual({
    REJECTED: 0,
    CANCELED: 0,
    BACKEND: 0,
    OTHER: 1,
  });
  const durations = await Promise.all(
    ['request', 'queue', 'compute_input', 'compute_infer', 'compute_output'].map((stage) =>
      sum(`nv_inference_${stage}_duration_us`, call),
    ),
  );
  const [request = 0, ...parts] = durations;
  expect(Math.min(...durations)).toBeGreaterThan(0);
  expect(parts.reduce((total, part) => total + part, 0)).toBeLessThan(request * 1.01);
  for (const [protocol, requests] of [
    ['grpc', 3],
    ['rest', 1],
    ['predict', 0],
  ] as const) {
    const counted = await of('millrace_inference_request_seconds_bucket', { ...call, protocol, le: '+Inf' });
    expect(counted).toMatchObject([{ value: requests }]);
  }
  expect(await sum('millrace_inference_batch_rows_bucket', { ...call, le: '4' })).toBe(3);
  expect(await sum('millrace_inference_queue_seconds_count', call)).toBe(4);
});

test('a request that gives up while it waits is CANCELED, rows of the cache are hits and no inferences', async () => {
  await serve('kept', denseModel({ widths: [4, 8, 2], opset: 17 }), { ttl: '1h' });
  await eventually(async () => {
    await world.oip.modelInfer(inferRequest('kept', [dense(4, 1)]));
    expect(await sum('nv_cache_num_hits_per_model', { model: 'kept' })).toBeGreaterThan(0);
  });
  const [hits, misses, rows] = await Promise.all([
    sum('nv_cache_num_hits_per_model', { model: 'kept' }),
    sum('nv_cache_num_misses_per_model', { model: 'kept' }),
    sum('nv_inference_count', { model: 'kept' }),
  ]);
  await world.oip.modelInfer(inferRequest('kept', [dense(4, 5)]));
  expect(await sum('nv_cache_num_hits_per_model', { model: 'kept' })).toBe(hits + 5);
  expect(await sum('nv_cache_num_misses_per_model', { model: 'kept' })).toBe(misses);
  expect(await sum('nv_inference_count', { model: 'kept' })).toBe(rows);

  await serve('long', denseModel({ widths: [1024, 4096, 4096, 8], opset: 17 }));
  const gone = new AbortController();
  const calls = Promise.allSettled(
    Array.from({ length: 12 }, () =>
      world.oip.modelInfer(inferRequest('long', [dense(1024, 128)]), { signal: gone.signal }),
    ),
  );
  await eventually(async () =>
    expect(await sum('nv_inference_pending_request_count', { model: 'long' })).toBeGreaterThan(0),
  );
  gone.abort();
  await calls;
  await eventually(async () =>
    expect(await sum('nv_inference_request_failure', { model: 'long', reason: 'CANCELED' })).toBeGreaterThan(0),
  );
});

test('a version that is unloaded has no series any more', async () => {
  expect((await of('nv_inference_count', { model: 'small' })).length).toBe(1);
  await world.oip.repositoryModelUnload({ repositoryName: '', modelName: 'small', parameters: new Map() });
  await eventually(async () => expect(await of('nv_inference_count', { model: 'small' })).toEqual([]));
  for (const name of ['nv_inference_request_failure', 'millrace_inference_request_seconds_bucket'])
    expect(await of(name, { model: 'small' })).toEqual([]);
  expect((await series('nv_inference_count')).length).toBeGreaterThan(0);
});

const bounds = [0.1, 0.25, 0.5, 1, 2.5];

/** By those seconds: how often the service's event loop was so late. */
async function late(): Promise<number[]> {
  const samples = await sum('millrace_event_loop_delay_seconds_count', {});
  const below = await Promise.all(
    bounds.map((le) => sum('millrace_event_loop_delay_seconds_bucket', { le: String(le) })),
  );
  return [...below.map((count) => samples - count), samples];
}

test('a model of more than 100 MB loads and runs for long without holding up the event loop', async () => {
  const large = denseModel({ widths: [2048, 4096, 4096, 128], opset: 17 });
  expect(large.length).toBeGreaterThan(100e6);
  const before = await late();
  const own = monitorEventLoopDelay({ resolution: 10 });
  own.enable();
  await serve('large', large);
  const runs: number[] = [];
  for (let call = 0; call < 2; call++) {
    const sinceMs = performance.now();
    await world.oip.modelInfer(inferRequest('large', [dense(2048, 512)]));
    runs.push((performance.now() - sinceMs) / 1000);
  }
  const after = await late();
  own.disable();
  expect((after.at(-1) ?? 0) - (before.at(-1) ?? 0)).toBeGreaterThan(20);
  // a run on the event loop would hold it up for as long as it takes; how long that is depends on the machine
  const half = bounds.findLastIndex((bound) => bound <= Math.min(...runs) / 2);
  expect(half).toBeGreaterThanOrEqual(0);
  // where the whole machine stands still, this process does too
  const stood = own.max / 1e9 > (bounds[half] ?? 0) / 2 ? 1 : 0;
  expect((after[half] ?? 0) - (before[half] ?? 0)).toBeLessThanOrEqual(stood);
});
