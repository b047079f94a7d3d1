import type { BenchCases, BenchContext } from '../bench.ts';
import { round1, round3, runClient } from '../serving-load.ts';
import { askGrpc, inferRequest, loadGrpc, method } from './infer-load.ts';
import { mlpOnnx } from './mlp.ts';
import { withModelServer } from './model-server.ts';

const seconds = 6;
const deadlineMs = 1_000;
const coldModels = 18;
const hotRate = 1_600;
const coldRate = 400;
const small = [32, 64, 32, 1];
const heavy = [768, 3072, 768];
const heavyAtOnce = 4;

type Open = { readonly sent: number; readonly in_time: number; readonly p50_ms: number; readonly p99_ms: number };

/**
 * B14: 20 models share the workers: 18 small ones (32-64-32-1) that get 400 requests/s together, one of that size with 1,600, and a heavy one (768-3072-768) that four
 * callers ask without pause. `p99_ms` is of the 18 in that company, `alone_p99_ms` without it, `hot_p99_ms` of the hot one. The server has the first core, the clients the other.
 */
export async function measureFairness({ progress, signal }: BenchContext): Promise<BenchCases> {
  const cold = Array.from({ length: coldModels }, (_, at) => `cold_${String(at).padStart(2, '0')}`);
  const bytes = mlpOnnx(small);
  const models = Object.fromEntries([...cold, 'hot_one'].map((name) => [name, bytes]));
  return withModelServer({ ...models, heavy: mlpOnnx(heavy) }, async (server) => {
    const requestOf = (model: string, columns: number) =>
      inferRequest(server.dir, {
        model,
        input: 'x',
        shape: [1, columns],
        data: Float32Array.from({ length: columns }, (_, at) => Math.sin(at)),
      });
    const open = async (names: readonly string[], rate: number): Promise<Open> => {
      const requests = names.map((name) => requestOf(name, small[0] ?? 0));
      const sizes = new Set<number>();
      for (const request of requests) sizes.add((await askGrpc(server.grpc, request)).bytes.length);
      if (sizes.size !== 1) throw new Error(`the models' answers have ${[...sizes]} bytes, one size is expected`);
      const files = requests.map(({ grpcFile }) => grpcFile).join(',');
      const args = [server.grpc, method, files, names.length, rate, seconds, [...sizes][0] ?? 0, deadlineMs];
      return runClient<Open>('open-loop-client.ts', args);
    };
    const alone = await open(cold, coldRate);
    signal.throwIfAborted();
    // longer than the others, so that they always have its company
    const load = { connections: 1, inFlight: heavyAtOnce, seconds: seconds + 4 };
    const [company, hot, heavyLoad] = await Promise.all([
      open(cold, coldRate),
      open(['hot_one'], hotRate),
      loadGrpc(server.grpc, requestOf('heavy', heavy[0] ?? 0), load),
    ]);
    const B14 = {
      p50_ms: round3(company.p50_ms),
      p99_ms: round3(company.p99_ms),
      alone_p50_ms: round3(alone.p50_ms),
      alone_p99_ms: round3(alone.p99_ms),
      hot_p99_ms: round3(hot.p99_ms),
      heavy_rps: round1(heavyLoad.rps),
      heavy_p99_ms: round3(heavyLoad.p99_ms),
      goodput: round3((company.in_time + hot.in_time) / (company.sent + hot.sent)),
    };
    progress(`B14: ${JSON.stringify(B14)}`);
    return { B14 };
  });
}
