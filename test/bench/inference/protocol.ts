import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BenchCases, type BenchContext, median } from '../bench.ts';
import { startBareServer } from '../grpc/start-bare-server.ts';
import { round1, round3 } from '../serving-load.ts';
import {
  askGrpc,
  checkSame,
  type InferRequest,
  inferRequest,
  loadGrpc,
  loadRest,
  type Measured,
  method,
} from './infer-load.ts';
import { type ModelServer, withModelServer } from './model-server.ts';
import { type PeerServer, startBentoml, startKserve, startMlserver } from './peers/servers.ts';

const seconds = 3;
const rounds = 3;
const atOnce = [1, 16, 64];
const identity = join(import.meta.dirname, '../../fixtures/oip/identity.onnx');
type Numbers = Readonly<Record<string, number>>;

/**
 * B1: a model that answers what it is given, FP32 [1, 4], raw over OIP's gRPC, with 1, 16 and 64 calls at once; `ratio` is to a bare grpc-js server that answers the
 * same bytes (`bare_rps`), in turns with it, medians of three. `ratio_python` is to the best of MLServer with and without its worker process and of KServe, by the same
 * client, and of BentoML, which has no gRPC, over JSON. Each server has the first core for all its processes, the client the other.
 */
export async function measureProtocol(context: BenchContext): Promise<BenchCases> {
  return withModelServer({ identity }, async (server) => {
    const data = Float32Array.of(1, 2, 3, 4);
    const request = inferRequest(server.dir, { model: 'identity', input: 'IN', shape: [1, 4], data });
    const cases = await besideBare(context, server, request);
    const python = await pythonServers(context, server, request);
    return Object.fromEntries(
      atOnce.map((calls, at) => [calls === 1 ? 'B1' : `B1/c${calls}`, withPython(cases[at] ?? {}, python[at] ?? {})]),
    );
  });
}

async function besideBare(
  { progress, signal }: BenchContext,
  server: ModelServer,
  request: InferRequest,
): Promise<Numbers[]> {
  const { bytes } = await askGrpc(server.grpc, request);
  const answerFile = join(server.dir, 'answer');
  writeFileSync(answerFile, bytes);
  const bare = await startBareServer(answerFile, method);
  try {
    const cases: Numbers[] = [];
    for (const calls of atOnce) {
      const load = { connections: 1, inFlight: calls, seconds };
      const ours: Measured[] = [];
      const theirs: Measured[] = [];
      for (let round = 0; round < rounds; round++) {
        signal.throwIfAborted();
        theirs.push(await loadGrpc(bare.address, request, load));
        ours.push(await loadGrpc(server.grpc, request, load));
      }
      const measured = compared(ours, theirs);
      progress(`B1 with ${calls} at once: ${JSON.stringify(measured)}`);
      cases.push(measured);
    }
    return cases;
  } finally {
    bare.child.kill('SIGTERM');
  }
}

function compared(ours: readonly Measured[], theirs: readonly Measured[]): Numbers {
  const of = (runs: readonly Measured[], metric: keyof Measured) => median(runs.map((one) => one[metric]));
  return {
    rps: round1(of(ours, 'rps')),
    p50_ms: round3(of(ours, 'p50_ms')),
    p99_ms: round3(of(ours, 'p99_ms')),
    client_cores: round3(of(ours, 'cores')),
    bare_rps: round1(of(theirs, 'rps')),
    bare_p50_ms: round3(of(theirs, 'p50_ms')),
    ratio: round3(of(ours, 'rps') / of(theirs, 'rps')),
  };
}

/** For each number of calls at once; nothing without Python. */
async function pythonServers(context: BenchContext, server: ModelServer, request: InferRequest): Promise<Numbers[]> {
  const { outputs } = await askGrpc(server.grpc, request);
  const overGrpc = async (peer: PeerServer, calls: number) =>
    loadGrpc(peer.grpc, request, { connections: 1, inFlight: calls, seconds });
  const bentoFile = join(server.dir, 'bento.json');
  writeFileSync(bentoFile, JSON.stringify({ x: [[1, 2, 3, 4]] }));
  const overRest = (peer: PeerServer, calls: number) =>
    loadRest(peer.http, { path: '/predict', jsonFile: bentoFile }, { connections: calls, seconds });
  const peers: [string, () => Promise<PeerServer | undefined>, typeof overGrpc][] = [
    ['mlserver', () => startMlserver({ identity }, { workers: 0 }, context), overGrpc],
    ['mlserver_worker', () => startMlserver({ identity }, { workers: 1 }, context), overGrpc],
    ['kserve', () => startKserve({ identity }, context), overGrpc],
    ['bentoml', () => startBentoml(identity, context), overRest],
  ];
  const measured = atOnce.map((): Record<string, number> => ({}));
  for (const [name, start, load] of peers) {
    const peer = await start();
    if (!peer) continue;
    try {
      if (load === overGrpc) checkSame(name, (await askGrpc(peer.grpc, request)).outputs, outputs);
      for (const [at, calls] of atOnce.entries()) {
        context.signal.throwIfAborted();
        const { rps, p99_ms } = await load(peer, calls);
        Object.assign(measured[at] ?? {}, { [`${name}_rps`]: round1(rps), [`${name}_p99_ms`]: round3(p99_ms) });
      }
    } finally {
      await peer.stop();
    }
  }
  context.progress(`B1 with Python: ${JSON.stringify(measured)}`);
  return measured;
}

function withPython(ours: Numbers, python: Numbers): Numbers {
  const rps = Object.entries(python).flatMap(([metric, value]) => (metric.endsWith('_rps') ? [value] : []));
  if (rps.length === 0) return ours;
  const best = Math.max(...rps);
  return { ...ours, ...python, best_python_rps: best, ratio_python: round3((ours.rps ?? 0) / best) };
}
