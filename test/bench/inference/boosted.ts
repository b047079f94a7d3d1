import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { BenchCases, BenchContext } from '../bench.ts';
import { round1, round3 } from '../serving-load.ts';
import { askGrpc, inferRequest, loadGrpc } from './infer-load.ts';
import { withModelServer } from './model-server.ts';
import { installed, made } from './peers/install.ts';
import { startKserve, startMlserver } from './peers/servers.ts';

const execute = promisify(execFile);
const seconds = 4;
const atOnce = 16;
const columns = 32;
const rowsOf = { B5: 1, 'B5/b32': 32 } as const;

/**
 * B5: LightGBM, 100 trees of depth 6, 32 features, as onnxmltools exports it (with ZipMap), 1 and 32 rows a request, 16 requests at once, raw over gRPC. `max_error`
 * is the largest distance from the probabilities that LightGBM gives for 256 rows, asked one by one and 32 at a time, `mlserver_max_error` the same of MLServer. Python makes the
 * model, so there is nothing to measure without it. Each server has the first core, the client the other.
 */
export async function measureBoosted(context: BenchContext): Promise<BenchCases> {
  const bin = await installed('models', context.progress, context.signal);
  if (!bin) return {};
  mkdirSync(made, { recursive: true });
  const gbdt = join(made, 'gbdt.onnx');
  await execute(join(bin, 'python'), [join(import.meta.dirname, 'peers', 'models.py'), made, 'gbdt'], context);
  const expected = JSON.parse(readFileSync(join(made, 'gbdt.json'), 'utf8')) as Expected;
  const cases: Record<string, Record<string, number>> = { B5: {}, 'B5/b32': {} };
  await withModelServer({ gbdt }, async (server) => {
    const measure = async (address: string, name: '' | 'mlserver_' | 'kserve_') => {
      for (const [label, rows] of Object.entries(rowsOf)) {
        context.signal.throwIfAborted();
        const load = { connections: 1, inFlight: atOnce, seconds };
        const { rps, p99_ms } = await loadGrpc(address, requestOf(server.dir, expected, 0, rows), load);
        const error = await largestError(address, server.dir, expected, rows);
        Object.assign(cases[label] ?? {}, {
          [`${name}rps`]: round1(rps),
          [`${name}p99_ms`]: round3(p99_ms),
          [`${name}max_error`]: error,
        });
      }
    };
    await measure(server.grpc, '');
    const peers = {
      mlserver_: () => startMlserver({ gbdt }, { workers: 0 }, context),
      kserve_: () => startKserve({ gbdt }, context),
    };
    for (const name of ['mlserver_', 'kserve_'] as const) {
      const peer = await peers[name]();
      if (!peer) continue;
      try {
        await measure(peer.grpc, name);
      } finally {
        await peer.stop();
      }
    }
  });
  for (const [label, measured] of Object.entries(cases)) {
    const { rps = Number.NaN, mlserver_rps = 0, kserve_rps = 0 } = measured;
    const best = Math.max(mlserver_rps, kserve_rps);
    if (best > 0) measured.ratio_python = round3(rps / best);
    context.progress(`${label}: ${JSON.stringify(measured)}`);
    if (!((measured.max_error ?? 1) < 1e-5))
      throw new Error(`${label}: answers differ from LightGBM's by ${measured.max_error}`);
  }
  return cases;
}

type Expected = { readonly rows: readonly number[][]; readonly probabilities: readonly number[][] };

function requestOf(dir: string, { rows }: Expected, from: number, count: number) {
  const data = Float32Array.from(rows.slice(from, from + count).flat());
  return inferRequest(dir, { model: 'gbdt', input: 'input', shape: [count, columns], data });
}

async function largestError(address: string, dir: string, expected: Expected, rows: number): Promise<number> {
  let largest = 0;
  for (let from = 0; from < expected.rows.length; from += rows) {
    const { outputs } = await askGrpc(address, requestOf(dir, expected, from, rows));
    const wanted = expected.probabilities.slice(from, from + rows).flat();
    const given = outputs.get('probabilities') ?? [];
    if (given.length !== wanted.length)
      throw new Error(`${address} answers ${given.length} probabilities of ${wanted.length}`);
    for (const [at, value] of wanted.entries())
      largest = Math.max(largest, Math.abs(value - (given[at] ?? Number.NaN)));
  }
  return largest;
}
