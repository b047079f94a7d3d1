import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { oip } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { eventually } from '@millrace/testkit';
import { runClient } from '../serving-load.ts';
import { mlpOnnx } from './mlp.ts';
import { withModelServer } from './model-server.ts';

const method = '/inference.GRPCInferenceService/ModelInfer';
const atOnce = 32;
/** Of the open loop. */
export const openConnections = 4;
/** Of so many requests of the open loop one has priority 1. */
const urgentEvery = 10;
/** Of §7.1: B3 and B7, and B4 and B8. */
const widths = { small: [32, 64, 32, 1], mid: [512, 1024, 512, 8] } as const;
type ModelName = keyof typeof widths;

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
  readonly reset: number;
  readonly late: number;
  readonly unanswered: number;
  readonly errors: number;
  readonly good_per_s: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly urgent_in_time: number;
  readonly urgent_p99_ms: number;
  readonly send_late_p99_ms: number;
  /** Of the generator and the model server. */
  readonly cores: readonly number[];
}

interface OpenLoad {
  readonly rate: number;
  readonly deadlineMs: number;
  readonly seconds: number;
  readonly urgent?: boolean;
}

/** A model server on the first core with the models of `widths`, and clients of them on the second. */
export interface MlpServer {
  /** 32 requests of a row at once, over so many connections. */
  closed(name: ModelName, seconds: number, connections?: number): Promise<Closed>;
  /** So many requests of a row each second, whether answers come or not; a tenth of them urgent, where `urgent` says so. */
  open(name: ModelName, load: OpenLoad): Promise<Open>;
}

export function withMlpServer<R>(
  env: Readonly<Record<string, string>>,
  use: (server: MlpServer) => Promise<R>,
): Promise<R> {
  const models = { small: mlpOnnx(widths.small), mid: mlpOnnx(widths.mid) };
  return withModelServer(
    models,
    async ({ grpc, pid, dir }) => {
      const requests = await prepareRequests(grpc, dir);
      return use({
        async closed(name, seconds, connections = 1) {
          const { body, answerBytes } = requests[name];
          const args = [grpc, method, body, connections, atOnce / connections, seconds, answerBytes];
          const measured = await runClient<Closed>('lean-client.ts', args);
          if (measured.errors > 0) throw new Error(`${name}: ${measured.errors} calls failed without overload`);
          return measured;
        },
        open(name, { rate, deadlineMs, seconds, urgent }) {
          const { body, urgentBody, answerBytes } = requests[name];
          const args = [grpc, method, body, openConnections, Math.round(rate), seconds, answerBytes, deadlineMs, pid];
          return runClient<Open>('open-loop-client.ts', urgent ? [...args, urgentBody, urgentEvery] : args);
        },
      });
    },
    env,
  );
}

interface Requests {
  readonly body: string;
  readonly urgentBody: string;
  readonly answerBytes: number;
}

/** The requests of each model in files, once it answers. */
async function prepareRequests(address: string, dir: string): Promise<Readonly<Record<ModelName, Requests>>> {
  const client = connect(oip.GRPCInferenceServiceService, address, { defaultTimeoutMs: 10_000 });
  const prepare = async (name: ModelName): Promise<Requests> => {
    const [width] = widths[name];
    const request = oip.ModelInferRequest.fromPartial({
      modelName: name,
      inputs: [{ name: 'x', datatype: 'FP32', shape: [1n, BigInt(width)] }],
      rawInputContents: [Buffer.from(Float32Array.from({ length: width }, (_, at) => Math.sin(at)).buffer)],
    } as never);
    const answer = await eventually(() => client.modelInfer(request), { timeoutMs: 30_000 });
    const [body, urgentBody] = [join(dir, `${name}.request`), join(dir, `${name}.urgent`)];
    writeFileSync(body, oip.ModelInferRequest.encode(request).finish());
    request.parameters.set('priority', { parameterChoice: { $case: 'uint64Param', value: 1n } });
    writeFileSync(urgentBody, oip.ModelInferRequest.encode(request).finish());
    return { body, urgentBody, answerBytes: oip.ModelInferResponse.encode(answer).finish().length };
  };
  try {
    return { small: await prepare('small'), mid: await prepare('mid') };
  } finally {
    client.close();
  }
}
