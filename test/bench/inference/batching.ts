import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { oip } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { model } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { startFullMesh } from '../../support/full-mesh.ts';
import type { BenchCases, BenchContext } from '../bench.ts';
import { pin, round1, round3, runClient } from '../serving-load.ts';
import { mlpOnnx } from './mlp.ts';

const method = '/inference.GRPCInferenceService/ModelInfer';
const seconds = 6;
const deadlineMs = 50;
const atOnce = 32;
/** Of §7.1: B3 and B7, and B4 and B8. */
const widths = { small: [32, 64, 32, 1], mid: [512, 1024, 512, 8] } as const;
type Model = keyof typeof widths;

interface Closed {
  readonly rps: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly errors: number;
}
interface Open {
  readonly sent: number;
  readonly in_time: number;
  readonly refused: number;
  readonly late: number;
  readonly unanswered: number;
  readonly errors: number;
  readonly good_per_s: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
}

/**
 * B4: 512-1024-512-8, 32 requests of a row at once, with batching (`rps`, `p99_ms`) and without (`bare_rps`, `bare_p99_ms`); `p99_same_load_ms`
 * is with batching at 80 % of `bare_rps`, open loop, beside `bare_p99_same_load_ms`. B7: 32-64-32-1 at 20 requests/s, `added_ms` of p50. B8: B4's model at twice
 * its `rps`, deadline 50 ms: `goodput` is answers in time per second over `rps`. The model server has one core, the client the other.
 */
export async function measureBatching({ progress, signal }: BenchContext): Promise<BenchCases> {
  const off = await withServer({ MILLRACE_INFERENCE_BATCH_ROWS_MAX: '1' }, async (server) => {
    const closed = await server.closed('mid');
    return {
      closed,
      same: await server.open('mid', 0.8 * closed.rps, 1_000),
      slow: await server.open('small', 20, 1_000),
    };
  });
  progress(`without batching: ${JSON.stringify(off)}`);
  signal.throwIfAborted();
  const on = await withServer({}, async (server) => {
    const closed = await server.closed('mid');
    return {
      closed,
      same: await server.open('mid', 0.8 * off.closed.rps, 1_000),
      slow: await server.open('small', 20, 1_000),
      over: await server.open('mid', 2 * closed.rps, deadlineMs),
      after: await server.closed('mid'),
    };
  });
  progress(`with batching: ${JSON.stringify(on)}`);
  return {
    B4: {
      rps: round1(on.closed.rps),
      p50_ms: round3(on.closed.p50_ms),
      p99_ms: round3(on.closed.p99_ms),
      bare_rps: round1(off.closed.rps),
      bare_p99_ms: round3(off.closed.p99_ms),
      ratio: round3(on.closed.rps / off.closed.rps),
      p99_same_load_ms: round3(on.same.p99_ms),
      bare_p99_same_load_ms: round3(off.same.p99_ms),
    },
    B7: {
      p50_ms: round3(on.slow.p50_ms),
      bare_p50_ms: round3(off.slow.p50_ms),
      added_ms: round3(on.slow.p50_ms - off.slow.p50_ms),
    },
    B8: {
      rps: round1(on.closed.rps),
      goodput: round3(on.over.good_per_s / on.closed.rps),
      p99_ms: round3(on.over.p99_ms),
      refused: round3(on.over.refused / on.over.sent),
      late: round3(on.over.late / on.over.sent),
      unanswered: round3(on.over.unanswered / on.over.sent),
      rps_after: round1(on.after.rps),
    },
  };
}

interface Server {
  closed(name: Model): Promise<Closed>;
  open(name: Model, rate: number, deadlineMs: number): Promise<Open>;
}

async function withServer<R>(env: Readonly<Record<string, string>>, use: (server: Server) => Promise<R>): Promise<R> {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const modelDir = join(dir, 'models');
  mkdirSync(modelDir);
  const definitions = Object.entries(widths).map(([name, sizes]) => {
    const bytes = mlpOnnx(sizes);
    writeFileSync(join(modelDir, `${name}.onnx`), bytes);
    return model(name, {
      owner: 'bench',
      uri: `${name}.onnx`,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    });
  });
  const mesh = await startFullMesh({ modelDir, env });
  try {
    await mesh.apply(...definitions);
    const service = mesh.service('model-inference');
    pin(service.pid, 0);
    const client = connect(oip.GRPCInferenceServiceService, service.grpc, { defaultTimeoutMs: 10_000 });
    const bodies = new Map<string, [body: string, answerBytes: number]>();
    for (const [name, [width]] of Object.entries(widths)) {
      const request = oip.ModelInferRequest.fromPartial({
        modelName: name,
        inputs: [{ name: 'x', datatype: 'FP32', shape: [1n, BigInt(width)] }],
        rawInputContents: [Buffer.from(Float32Array.from({ length: width }, (_, at) => Math.sin(at)).buffer)],
      } as never);
      const answer = await eventually(() => client.modelInfer(request), { timeoutMs: 30_000 });
      const body = join(dir, `${name}.request`);
      writeFileSync(body, oip.ModelInferRequest.encode(request).finish());
      bodies.set(name, [body, oip.ModelInferResponse.encode(answer).finish().length]);
    }
    client.close();
    const of = (name: Model) => bodies.get(name) ?? ['', 0];
    return await use({
      async closed(name) {
        const [body, bytes] = of(name);
        const args = [service.grpc, method, body, 1, atOnce, seconds, bytes];
        const measured = await runClient<Closed>('lean-client.ts', args);
        if (measured.errors > 0) throw new Error(`${name}: ${measured.errors} calls failed without overload`);
        return measured;
      },
      open(name, rate, limitMs) {
        const [body, bytes] = of(name);
        return runClient<Open>('open-loop-client.ts', [
          service.grpc,
          method,
          body,
          4,
          Math.round(rate),
          seconds,
          bytes,
          limitMs,
        ]);
      },
    });
  } finally {
    await mesh.close();
    rmSync(dir, { recursive: true, force: true });
  }
}
