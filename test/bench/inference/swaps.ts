import { readFileSync } from 'node:fs';
import { oip } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { eventually } from '@millrace/testkit';
import { type BenchCases, type BenchContext, median } from '../bench.ts';
import { round1, round3, runClient } from '../serving-load.ts';
import { askGrpc, type InferRequest, inferRequest, method } from './infer-load.ts';
import { mlpOnnx } from './mlp.ts';
import { type ModelServer, type Prepared, withModelServer } from './model-server.ts';

const rate = 1_000;
const connections = 4;
const deadlineMs = 1_000;
/** Compiled code and the heap settle. */
const warmUpSeconds = 6;
const beforeSeconds = 10;
const swapSeconds = 25;
const swaps = 20;
/** Between the beginnings of two swaps. */
const swapEveryMs = 1_100;
const widths = [32, 64, 32, 1];
/** 134 MB of weights. */
const largeWidths = [4096, 4096, 4096];
/** Before memory is looked at: what is loaded for the first time, and the collector's first rounds. */
const memorySwapsBefore = 50;

type Open = {
  readonly sent: number;
  readonly in_time: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly send_late_p99_ms: number;
  readonly cores: readonly number[];
};

/**
 * B9: the small tabular model at 1,000 requests/s, open loop, while it gets 20 other versions, one after another, and a model of 134 MB is loaded; then 200 swaps without load, and
 * the resident memory after them to that before. The server has the first core, the client the other.
 */
export async function measureSwaps({ progress, signal, number }: BenchContext): Promise<BenchCases> {
  const bytes = mlpOnnx(widths);
  let version = 0;
  const next = () => Buffer.concat([bytes, producer(`bench ${version++}`)]);
  return withModelServer({ mlp: next() }, async (server) => {
    const client = connect(oip.GRPCInferenceServiceService, server.grpc, { defaultTimeoutMs: 10_000 });
    try {
      const data = Float32Array.from({ length: widths[0] ?? 0 }, (_, at) => Math.sin(at));
      const request = inferRequest(server.dir, { model: 'mlp', input: 'x', shape: [1, data.length], data });
      const answer = await askGrpc(server.grpc, request);
      const large = server.prepare('large', mlpOnnx(largeWidths));
      const swap = () => swapTo(server, client, request, server.prepare('mlp', next()));
      const load = (seconds: number) => {
        const args = [server.grpc, method, request.grpcFile, connections, rate, seconds, answer.bytes.length];
        return runClient<Open>('open-loop-client.ts', [...args, deadlineMs, server.pid]);
      };
      await load(warmUpSeconds);
      const before = await load(beforeSeconds);
      progress(`B9, before: ${JSON.stringify(before)}`);
      signal.throwIfAborted();
      const during = load(swapSeconds);
      const { swapMs, loadMs } = await swapUnderLoad(server, client, swap, large);
      const loaded = await during;
      progress(`B9, during: ${JSON.stringify(loaded)}`);
      await server.remove('large');
      const memory = await memoryOver(server, swap, number('swaps'), signal, progress);
      const B9 = {
        before_p50_ms: round3(before.p50_ms),
        before_p99_ms: round3(before.p99_ms),
        p50_ms: round3(loaded.p50_ms),
        p99_ms: round3(loaded.p99_ms),
        ratio: round3(loaded.p99_ms / before.p99_ms),
        errors: loaded.sent - loaded.in_time,
        swap_ms: round1(median(swapMs)),
        large_load_ms: round1(loadMs),
        send_late_p99_ms: round3(loaded.send_late_p99_ms),
        ...memory,
      };
      progress(`B9: ${JSON.stringify(B9)}`);
      return { B9 };
    } finally {
      client.close();
    }
  });
}

type Client = ReturnType<typeof connect<oip.GRPCInferenceServiceService>>;

async function swapUnderLoad(server: ModelServer, client: Client, swap: () => Promise<number>, large: Prepared) {
  // the generator warms up for two seconds
  await sleep(2_500);
  const swapMs: number[] = [];
  let loadMs = 0;
  for (let at = 0; at < swaps; at++) {
    const sinceMs = performance.now();
    if (at === swaps / 2) {
      await server.put(large);
      await untilReady(client, 'large');
      loadMs = performance.now() - sinceMs;
    }
    swapMs.push(await swap());
    await sleep(Math.max(0, swapEveryMs - (performance.now() - sinceMs)));
  }
  return { swapMs, loadMs };
}

/** Registers another version and waits until it answers; milliseconds. */
async function swapTo(server: ModelServer, client: Client, request: InferRequest, next: Prepared): Promise<number> {
  const { modelVersion: before } = await client.modelInfer(request.message);
  const sinceMs = performance.now();
  await server.put(next);
  await eventually(
    async () => {
      const { modelVersion } = await client.modelInfer(request.message);
      return modelVersion !== before;
    },
    { timeoutMs: 30_000 },
  );
  return performance.now() - sinceMs;
}

function untilReady(client: Client, name: string): Promise<unknown> {
  const ready = () => client.modelReady({ name, version: '' }).then((answer) => answer.ready);
  return eventually(() => ready().catch(() => false), { timeoutMs: 60_000 });
}

/** Resident memory before and after so many swaps. */
async function memoryOver(
  { pid }: ModelServer,
  swap: () => Promise<number>,
  count: number,
  signal: AbortSignal,
  progress: (text: string) => void,
) {
  const times = async (count: number) => {
    for (let at = 0; at < count; at++) {
      signal.throwIfAborted();
      await swap();
      if (at % 50 === 49) progress(`B9: ${Math.round(residentMb(pid))} MB after ${at + 1} of ${count} swaps`);
    }
    // what has been collected meanwhile
    await sleep(3_000);
    return residentMb(pid);
  };
  const before = await times(Math.min(memorySwapsBefore, count));
  const after = await times(count);
  return {
    swaps: count,
    rss_before_mb: round1(before),
    rss_after_mb: round1(after),
    rss_drift: round3(after / before - 1),
  };
}

function residentMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/** ModelProto's producer_name: other bytes, the same model. */
function producer(name: string): Buffer {
  return Buffer.concat([Buffer.from([2 * 8 + 2, name.length]), Buffer.from(name)]);
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
