import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BenchCases, type BenchContext, median } from '../bench.ts';
import { round1, round3 } from '../serving-load.ts';
import { askGrpc, askRest, checkSame, inferRequest, loadGrpc, loadRest, type Measured } from './infer-load.ts';
import { withModelServer } from './model-server.ts';
import { type PeerServer, startBentoml, startMlserver } from './peers/servers.ts';

const connections = 300;
const seconds = 5;
const batch = { size: 300, seconds: 0.3 };
const iris = join(import.meta.dirname, 'models', 'iris.onnx');
/** Of MLServer: with its model in its own process and in a worker's, and without batching. */
const settings = {
  mlserver_alone: { workers: 0, batch },
  mlserver_worker: { workers: 1, batch },
  mlserver_unbatched: { workers: 0 },
} as const;

type Wire = 'gRPC' | 'REST';
type Numbers = Record<string, number>;

/**
 * B2: MLServer's own benchmark. scikit-learn's iris as skl2onnx exports it (with ZipMap), a row a request, 300 connections with a request each, raw over gRPC and as
 * JSON over REST. `mlserver_rps` is the best of MLServer's settings, of which each has a number of its own; `ratio` is to it. BentoML answers the
 * probabilities alone. Ours chooses its batches itself. Each server has the first core, the client the other.
 */
export async function measureIris(context: BenchContext): Promise<BenchCases> {
  const { rows, probabilities } = JSON.parse(readFileSync(iris.replace('.onnx', '.json'), 'utf8')) as {
    rows: number[][];
    probabilities: number[][];
  };
  const [row = [], expected = []] = [rows[0], probabilities[0]];
  return withModelServer({ iris }, async (server) => {
    const data = Float32Array.from(row);
    const request = inferRequest(server.dir, { model: 'iris', input: 'X', shape: [1, row.length], data });
    const check = async (name: string, { grpc, http }: Pick<PeerServer, 'grpc' | 'http'>) => {
      const wanted = new Map([['output_probability', expected]]);
      checkSame(`${name} over gRPC`, (await askGrpc(grpc, request)).outputs, wanted);
      checkSame(`${name} over REST`, await askRest(http, request), wanted);
    };
    const load = (wire: Wire, { grpc, http }: Pick<PeerServer, 'grpc' | 'http'>) => {
      context.signal.throwIfAborted();
      return wire === 'gRPC'
        ? loadGrpc(grpc, request, { connections, inFlight: 1, seconds })
        : loadRest(http, request, { connections, seconds });
    };
    await check('ours', server);
    const before = { gRPC: await load('gRPC', server), REST: await load('REST', server) };
    const theirs: Record<Wire, Numbers> = { gRPC: {}, REST: {} };
    for (const [name, setting] of Object.entries(settings)) {
      // started anew for each: requests that a load left behind stay in its batcher, which then answers a few in a second
      for (const wire of ['gRPC', 'REST'] as const) {
        const peer = await startMlserver({ iris }, setting, context);
        if (!peer) break;
        await whileUp(peer, async () => {
          await check(name, peer);
          keep(theirs[wire], name, await load(wire, peer));
        });
      }
    }
    const bento = await startBentoml(iris, context);
    if (bento) {
      const jsonFile = join(server.dir, 'bento.json');
      writeFileSync(jsonFile, JSON.stringify({ x: [row] }));
      const there = { path: '/predict', jsonFile };
      await whileUp(bento, async () =>
        keep(theirs.REST, 'bentoml', await loadRest(bento.http, there, { connections, seconds })),
      );
    }
    const after = { gRPC: await load('gRPC', server), REST: await load('REST', server) };
    const cases = {
      B2: compared([before.gRPC, after.gRPC], theirs.gRPC),
      'B2/rest': compared([before.REST, after.REST], theirs.REST),
    };
    context.progress(JSON.stringify(cases));
    return cases;
  });
}

async function whileUp(peer: PeerServer, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } finally {
    await peer.stop();
  }
}

function keep(into: Numbers, name: string, { rps, p99_ms }: Measured): void {
  into[`${name}_rps`] = round1(rps);
  into[`${name}_p99_ms`] = round3(p99_ms);
}

function compared(ours: readonly Measured[], theirs: Numbers): Numbers {
  const of = (metric: keyof Measured) => median(ours.map((run) => run[metric]));
  const [best] = Object.keys(settings)
    .flatMap((name) => (theirs[`${name}_rps`] === undefined ? [] : [name]))
    .sort((one, other) => (theirs[`${other}_rps`] ?? 0) - (theirs[`${one}_rps`] ?? 0));
  const own = {
    rps: round1(of('rps')),
    p50_ms: round3(of('p50_ms')),
    p99_ms: round3(of('p99_ms')),
    client_cores: round3(of('cores')),
    ...theirs,
  };
  if (best === undefined) return own;
  const mlserver = { mlserver_rps: theirs[`${best}_rps`] ?? 0, mlserver_p99_ms: theirs[`${best}_p99_ms`] ?? 0 };
  return { ...own, ...mlserver, ratio: round3(of('rps') / mlserver.mlserver_rps) };
}
