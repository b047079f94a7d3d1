import type { BenchCases, BenchContext } from '../bench.ts';
import { round1, round3, runClient } from '../serving-load.ts';
import { askGrpc, checkSame, type InferRequest, inferRequest, method } from './infer-load.ts';
import { mlpOnnx } from './mlp.ts';
import { withModelServer } from './model-server.ts';
import { startKserve, startMlserver } from './peers/servers.ts';

const seconds = 3;
const connections = 4;
const p99MaxMs = 10;
/** Of a request; what takes longer has failed. */
const deadlineMs = 200;
const rates = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 48_000, 64_000];
/** How exactly the highest rate is told. */
const precision = 1.1;

type Open = { readonly sent: number; readonly in_time: number; readonly p50_ms: number; readonly p99_ms: number };
type Kept = { readonly rate: number; readonly p50_ms: number; readonly p99_ms: number };

/**
 * B3: the small tabular model, 32-64-32-1, a row a request, raw over gRPC, open loop: requests leave at a fixed rate whether answers come or not. `rps` is the highest
 * rate (to a tenth) at which all are answered and 99 of 100 within 10 ms; `p99_ms` is there. Each server has the first core, the client the other.
 */
export async function measureTabular(context: BenchContext): Promise<BenchCases> {
  const { progress } = context;
  return withModelServer({ mlp: mlpOnnx([32, 64, 32, 1]) }, async ({ grpc, dir, file }) => {
    const data = Float32Array.from({ length: 32 }, (_, at) => Math.sin(at));
    const request = inferRequest(dir, { model: 'mlp', input: 'x', shape: [1, 32], data });
    const { outputs } = await askGrpc(grpc, request);
    const ours = await highestRate(grpc, request, 8_000, context);
    progress(`B3: ${JSON.stringify(ours)}`);
    const result: Record<string, number> = { rps: ours.rate, p50_ms: ours.p50_ms, p99_ms: ours.p99_ms };
    const peers = {
      mlserver: () => startMlserver({ mlp: file('mlp') }, { workers: 0 }, context),
      kserve: () => startKserve({ mlp: file('mlp') }, context),
    };
    for (const [name, start] of Object.entries(peers)) {
      const peer = await start();
      if (!peer) continue;
      try {
        checkSame(name, (await askGrpc(peer.grpc, request)).outputs, outputs);
        const kept = await highestRate(peer.grpc, request, 500, context);
        progress(`B3, ${name}: ${JSON.stringify(kept)}`);
        result[`${name}_rps`] = kept.rate;
        result[`${name}_p99_ms`] = kept.p99_ms;
        result.ratio_python = Math.min(result.ratio_python ?? Number.POSITIVE_INFINITY, ours.rate / kept.rate);
      } finally {
        await peer.stop();
      }
    }
    return { B3: Object.fromEntries(Object.entries(result).map(([metric, value]) => [metric, round3(value)])) };
  });
}

/** Goes up the rates until one is too high, then halves the way between. */
async function highestRate(
  address: string,
  request: InferRequest,
  from: number,
  { signal }: BenchContext,
): Promise<Kept> {
  const { bytes } = await askGrpc(address, request);
  const attempt = async (rate: number): Promise<Kept | undefined> => {
    signal.throwIfAborted();
    const args = [address, method, request.grpcFile, connections, rate, seconds, bytes.length, deadlineMs];
    const open = await runClient<Open>('open-loop-client.ts', args);
    const isKept = open.in_time === open.sent && open.p99_ms <= p99MaxMs;
    return isKept ? { rate, p50_ms: open.p50_ms, p99_ms: open.p99_ms } : undefined;
  };
  let kept: Kept = { rate: 0, p50_ms: Number.NaN, p99_ms: Number.NaN };
  let tooHigh = Number.POSITIVE_INFINITY;
  for (const rate of rates.filter((each) => each >= from)) {
    const held = await attempt(rate);
    if (!held) {
      tooHigh = rate;
      break;
    }
    kept = held;
  }
  while (kept.rate > 0 && Number.isFinite(tooHigh) && tooHigh / kept.rate > precision) {
    const middle = Math.round((kept.rate + tooHigh) / 2);
    const held = await attempt(middle);
    if (held) kept = held;
    else tooHigh = middle;
  }
  return { ...kept, rate: round1(kept.rate) };
}
