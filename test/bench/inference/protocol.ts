import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { oip } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { model } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { startFullMesh } from '../../support/full-mesh.ts';
import { type BenchCases, type BenchContext, median } from '../bench.ts';
import { startBareServer } from '../grpc/start-bare-server.ts';
import { pin, round1, round3, runClient } from '../serving-load.ts';

const method = '/inference.GRPCInferenceService/ModelInfer';
const seconds = 4;
const rounds = 3;
const atOnce = [1, 16, 64];
const identity = join(import.meta.dirname, '../../fixtures/oip/identity.onnx');

interface Measured {
  readonly rps: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly errors: number;
}

/**
 * B1: a model that answers what it is given, FP32 [1, 4], raw over OIP's gRPC, with 1, 16 and 64 calls at once; `ratio` is to a bare grpc-js server that answers the
 * same bytes (`bare_rps`), in turns with it, medians of three. The server has one core with its workers, the client the other.
 */
export async function measureProtocol({ progress, signal }: BenchContext): Promise<BenchCases> {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const modelDir = join(dir, 'models');
  mkdirSync(modelDir);
  copyFileSync(identity, join(modelDir, 'identity.onnx'));
  const mesh = await startFullMesh({ modelDir });
  try {
    const sha256 = createHash('sha256').update(readFileSync(identity)).digest('hex');
    await mesh.apply(model('identity', { owner: 'bench', uri: 'identity.onnx', sha256 }));
    const { grpc, pid } = mesh.service('model-inference');
    pin(pid, 0);
    const request = oip.ModelInferRequest.fromPartial({
      modelName: 'identity',
      inputs: [{ name: 'IN', datatype: 'FP32', shape: [1n, 4n] }],
      rawInputContents: [Buffer.from(Float32Array.of(1, 2, 3, 4).buffer)],
    } as never);
    const client = connect(oip.GRPCInferenceServiceService, grpc, { defaultTimeoutMs: 10_000 });
    const answer = await eventually(() => client.modelInfer(request), { timeoutMs: 30_000 });
    client.close();
    const [requestFile, answerFile] = [join(dir, 'request'), join(dir, 'answer')];
    const answerBytes = oip.ModelInferResponse.encode(answer).finish();
    writeFileSync(requestFile, oip.ModelInferRequest.encode(request).finish());
    writeFileSync(answerFile, answerBytes);
    const bare = await startBareServer(answerFile, method);
    try {
      const cases: Record<string, BenchCases[string]> = {};
      for (const calls of atOnce) {
        const load = (address: string) =>
          runClient<Measured>('lean-client.ts', [address, method, requestFile, 1, calls, seconds, answerBytes.length]);
        const ours: Measured[] = [];
        const theirs: Measured[] = [];
        for (let round = 0; round < rounds; round++) {
          signal.throwIfAborted();
          theirs.push(await load(bare.address));
          ours.push(await load(grpc));
        }
        const failed = [...ours, ...theirs].reduce((sum, { errors }) => sum + errors, 0);
        if (failed > 0) throw new Error(`B1 with ${calls} at once: ${failed} calls failed`);
        cases[calls === 1 ? 'B1' : `B1/c${calls}`] = compared(ours, theirs);
        progress(`B1 with ${calls} at once: ${JSON.stringify(compared(ours, theirs))}`);
      }
      return cases;
    } finally {
      bare.child.kill('SIGTERM');
    }
  } finally {
    await mesh.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

function compared(ours: readonly Measured[], theirs: readonly Measured[]): Record<string, number> {
  const of = (runs: readonly Measured[], metric: keyof Measured) => median(runs.map((one) => one[metric]));
  return {
    rps: round1(of(ours, 'rps')),
    p50_ms: round3(of(ours, 'p50_ms')),
    p99_ms: round3(of(ours, 'p99_ms')),
    bare_rps: round1(of(theirs, 'rps')),
    bare_p50_ms: round3(of(theirs, 'p50_ms')),
    ratio: round3(of(ours, 'rps') / of(theirs, 'rps')),
  };
}
