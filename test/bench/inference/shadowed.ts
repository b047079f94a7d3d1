import { rollouts as contract, oip } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { deployment } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { type BenchCases, type BenchContext, median } from '../bench.ts';
import { round1, round3, runClient } from '../serving-load.ts';
import { askGrpc, inferRequest, method } from './infer-load.ts';
import { mlpOnnx } from './mlp.ts';
import { type ModelServer, withModelServer } from './model-server.ts';

const rate = 2_000;
const connections = 4;
const seconds = 4;
const deadlineMs = 1_000;
const rounds = 5;
const widths = [32, 64, 32, 1];

type Open = { readonly sent: number; readonly in_time: number; readonly p50_ms: number; readonly p99_ms: number };

/**
 * B12: the small tabular model behind a deployment at 2,000 requests/s, open loop, alone and with every call mirrored to a second version of it, by turns, medians of five.
 * `added_p99` is the share by which mirroring lengthens the 99 % of what answers, the median of the rounds; `mirrored` and `dropped` are counted by the server.
 * The server has the first core, the client the other.
 */
export async function measureShadow({ progress, signal }: BenchContext): Promise<BenchCases> {
  return withModelServer({}, async (server) => {
    const bytes = mlpOnnx(widths);
    const output = { output: { name: 'y' } };
    const primary = await server.put(server.prepare('primary', bytes), output);
    await server.put(server.prepare('mirror', bytes), output);
    await server.apply(deployment('mirrored', { owner: 'bench', targets: [{ model: primary }] }));
    const client = connect(contract.RolloutServiceService, server.grpc, { defaultTimeoutMs: 10_000 });
    try {
      await untilReady(server, 'mirror');
      const data = Float32Array.from({ length: widths[0] ?? 0 }, (_, at) => Math.sin(at));
      const request = inferRequest(server.dir, { model: 'mirrored', input: 'x', shape: [1, data.length], data });
      const { bytes: answer } = await askGrpc(server.grpc, request);
      const load = async (label: string): Promise<Open> => {
        signal.throwIfAborted();
        const args = [server.grpc, method, request.grpcFile, connections, rate, seconds, answer.length, deadlineMs];
        const open = await runClient<Open>('open-loop-client.ts', args);
        progress(`B12, ${label}: ${JSON.stringify(open)}`);
        return open;
      };
      await load('warm-up');
      const alone: Open[] = [];
      const mirrored: Open[] = [];
      for (let round = 0; round < rounds; round++) {
        alone.push(await load('alone'));
        await client.startRollout({ deployment: 'mirrored', model: 'mirror', modelVersion: '', plan, by: 'bench' });
        mirrored.push(await load('mirrored'));
        const action = { action: 'rollback', by: 'bench', reason: 'the next round' };
        await client.controlRollout({ deployment: 'mirrored', ...action });
      }
      const of = (runs: readonly Open[], metric: 'p50_ms' | 'p99_ms') => round3(median(runs.map((run) => run[metric])));
      const calls = await shadowCalls(server);
      if (calls.paired === 0) throw new Error(`nothing was mirrored: ${JSON.stringify(calls)}`);
      const B12 = {
        alone_p50_ms: of(alone, 'p50_ms'),
        alone_p99_ms: of(alone, 'p99_ms'),
        p50_ms: of(mirrored, 'p50_ms'),
        p99_ms: of(mirrored, 'p99_ms'),
        added_p99: round3(median(mirrored.map(({ p99_ms }, at) => p99_ms / (alone[at]?.p99_ms ?? 0) - 1))),
        errors: [...alone, ...mirrored].reduce((sum, { sent, in_time }) => sum + sent - in_time, 0),
        mirrored: calls.paired,
        dropped: calls.dropped,
        failed: calls.failed,
        dropped_share: round3(calls.dropped / (calls.paired + calls.dropped + calls.failed)),
      };
      progress(`B12: ${JSON.stringify(B12)}`);
      return { B12 };
    } finally {
      client.close();
    }
  });
}

/** Mirrors all calls and decides nothing while it is measured. */
const plan = contract.RolloutPlan.fromPartial({
  steps: [{ share: 0, shadow: 1, minSeconds: 600, minRequests: 0 }],
  guardrails: [{ kind: 'errors', tolerance: 1, margin: 3, negligible: 0.05, weight: 1 }],
  alpha: 0.01,
  beta: 0.05,
  rollbackMinRequests: 1_000_000,
  killShare: 1,
  killRequests: 1_000_000,
  maxSeconds: 3_600,
});

async function shadowCalls({ http }: ModelServer) {
  const text = await (await fetch(`http://${http}/metrics`)).text();
  const of = (outcome: string) => {
    const line = new RegExp(`^millrace_inference_shadow_calls_total\\{[^}]*outcome="${outcome}"[^}]*\\} (\\d+)`, 'm');
    return round1(Number(line.exec(text)?.[1] ?? 0));
  };
  return { paired: of('paired'), dropped: of('dropped'), failed: of('failed') };
}

async function untilReady({ grpc }: ModelServer, name: string): Promise<void> {
  const client = connect(oip.GRPCInferenceServiceService, grpc, { defaultTimeoutMs: 10_000 });
  try {
    const ready = () => client.modelReady({ name, version: '' }).then((answer) => answer.ready);
    await eventually(() => ready().catch(() => false), { timeoutMs: 30_000 });
  } finally {
    client.close();
  }
}
