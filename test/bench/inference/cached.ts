import type { BenchCases, BenchContext } from '../bench.ts';
import { round1, round3, runClient } from '../serving-load.ts';
import { askGrpc, checkSame, inferRequest, type Measured, method } from './infer-load.ts';
import { mlpOnnx } from './mlp.ts';
import { type ModelServer, withModelServer } from './model-server.ts';

const widths = [768, 3072, 768];
/** Other answers to the same inputs. */
const otherWidths = [768, 3071, 768];
const numbers = 10_000;
const exponent = 1.1;
const inFlight = 16;
const seconds = 8;
/** Inputs that are compared. */
const compared = 50;
/** Room for every answer: 10,000 of 3 KiB, with what is kept beside them. */
const cacheBytes = 256 * 2 ** 20;

/**
 * B13: 10,000 inputs of the heavy model (768-3072-768), asked as often as Zipf's law with exponent 1.1 has it, 16 at once, without and with a response cache that begins empty.
 * `hit_ratio` counts rows that no run was made for, `mismatches` answers of two models to equal inputs that differ from what each
 * answered without a cache. The server has the first core, the client the other.
 */
export async function measureCache({ progress, signal }: BenchContext): Promise<BenchCases> {
  const bytes = mlpOnnx(widths);
  const other = mlpOnnx(otherWidths);
  const env = { MILLRACE_INFERENCE_CACHE_BYTES_MAX: String(cacheBytes) };
  return withModelServer(
    { plain: bytes, other_plain: other },
    async (server) => {
      const responseCache = { responseCache: { ttl: '1h' } };
      await server.put(server.prepare('kept', bytes), responseCache);
      await server.put(server.prepare('other', other), responseCache);
      const load = async (name: string): Promise<Measured> => {
        signal.throwIfAborted();
        const request = requestOf(server, name, 0);
        const { bytes: answer } = await askGrpc(server.grpc, request);
        const args = [server.grpc, method, request.grpcFile, inputBytes, numbers, exponent, inFlight, seconds];
        const measured = await runClient<Measured>('zipf-client.ts', [...args, answer.length]);
        if (measured.errors > 0) throw new Error(`${name}: ${measured.errors} calls failed`);
        return measured;
      };
      const without = await load('plain');
      progress(`B13, without: ${JSON.stringify(without)}`);
      const before = await rowsOf(server);
      const kept = await load('kept');
      const after = await rowsOf(server);
      progress(`B13, with: ${JSON.stringify(kept)}`);
      const used = {
        hit: after.hit - before.hit,
        shared: after.shared - before.shared,
        miss: after.miss - before.miss,
      };
      const rows = used.hit + used.shared + used.miss;
      const B13 = {
        hit_ratio: round3((used.hit + used.shared) / rows),
        rps: round1(kept.rps),
        p50_ms: round3(kept.p50_ms),
        p99_ms: round3(kept.p99_ms),
        plain_rps: round1(without.rps),
        plain_p50_ms: round3(without.p50_ms),
        plain_p99_ms: round3(without.p99_ms),
        ratio: round3(kept.rps / without.rps),
        mismatches: await mismatchesOf(server),
        compared: 2 * compared,
      };
      progress(`B13: ${JSON.stringify(B13)}`);
      return { B13 };
    },
    env,
  );
}

const inputBytes = (widths[0] ?? 0) * 4;

function requestOf({ dir }: ModelServer, model: string, number: number) {
  const data = Float32Array.from({ length: widths[0] ?? 0 }, (_, at) => (at === 0 ? number : Math.sin(at)));
  return inferRequest(dir, { model, input: 'x', shape: [1, data.length], data });
}

/** Both models by turns, so that an answer kept for one would be given for the other. */
async function mismatchesOf(server: ModelServer): Promise<number> {
  let mismatches = 0;
  for (let number = 0; number < compared; number++)
    for (const [cached, plain] of [
      ['kept', 'plain'],
      ['other', 'other_plain'],
    ] as const) {
      const expected = await askGrpc(server.grpc, requestOf(server, plain, number));
      // the second time it is certainly kept
      for (let time = 0; time < 2; time++) {
        const { outputs } = await askGrpc(server.grpc, requestOf(server, cached, number));
        try {
          checkSame(cached, outputs, expected.outputs);
        } catch {
          mismatches++;
        }
      }
    }
  return mismatches;
}

async function rowsOf({ http }: ModelServer) {
  const text = await (await fetch(`http://${http}/metrics`)).text();
  const of = (use: string) =>
    Number(new RegExp(`cache_rows_total\\{[^}]*model="kept",use="${use}"[^}]*\\} (\\d+)`).exec(text)?.[1] ?? 0);
  return { hit: of('hit'), shared: of('shared'), miss: of('miss') };
}
