import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { oip } from '@millrace/contracts';
import type { BenchCases, BenchContext } from '../bench.ts';
import { cpuMs } from '../grpc/cpu.ts';
import { round1, round3 } from '../serving-load.ts';
import {
  askGrpc,
  askRest,
  checkSame,
  type InferRequest,
  inferRequest,
  loadGrpc,
  loadRest,
  type Measured,
} from './infer-load.ts';
import { type ModelServer, withModelServer } from './model-server.ts';
import { startMlserver } from './peers/servers.ts';

const columns = 10_000;
const seconds = 3;
const atOnce = 4;
/** Both ways: the model answers what it is given. */
const megabytes = (2 * columns * 4) / 1e6;
const wide = join(import.meta.dirname, '../../fixtures/oip/wide.onnx');

/**
 * B15: FP32 [1, 10000] to a model that answers what it is given, four at once: raw and typed over gRPC, JSON and the binary extension over REST.
 * `mb_per_s` counts the tensors alone, in and out; `cpu_ms` is the server's for a request. MLServer beside it, which has no binary REST.
 * Each server has the first core, the client the other.
 */
export async function measureWire(context: BenchContext): Promise<BenchCases> {
  return withModelServer({ wide }, async (server) => {
    const data = Float32Array.from({ length: columns }, (_, at) => Math.sin(at));
    const raw = inferRequest(server.dir, { model: 'wide', input: 'IN', shape: [1, columns], data });
    const typed = typedOf(server.dir, raw, data);
    const binary = binaryOf(server, raw, data);
    const rest = { connections: atOnce, seconds };
    const grpc = { connections: 1, inFlight: atOnce, seconds };
    const expected = new Map([['OUT', Array.from(data)]]);
    checkSame('raw', (await askGrpc(server.grpc, raw)).outputs, expected);
    checkSame('JSON', await askRest(server.http, raw), expected);
    const cases: Record<string, Record<string, number>> = {
      'B15/raw': await weighed(server, () => loadGrpc(server.grpc, raw, grpc)),
      'B15/typed': await weighed(server, () => loadGrpc(server.grpc, typed, grpc)),
      'B15/json': await weighed(server, () => loadRest(server.http, raw, rest)),
      'B15/binary': await weighed(server, () => loadRest(server.http, binary, rest)),
    };
    const peer = await startMlserver({ wide }, { workers: 0 }, context);
    if (peer) {
      try {
        const theirs = {
          'B15/raw': await loadGrpc(peer.grpc, raw, grpc),
          'B15/typed': await loadGrpc(peer.grpc, typed, grpc),
          'B15/json': await loadRest(peer.http, raw, rest),
        };
        for (const [label, { rps }] of Object.entries(theirs))
          Object.assign(cases[label] ?? {}, {
            mlserver_rps: round1(rps),
            ratio: round3((cases[label]?.rps ?? 0) / rps),
          });
      } finally {
        await peer.stop();
      }
    }
    for (const [label, measured] of Object.entries(cases)) context.progress(`${label}: ${JSON.stringify(measured)}`);
    return cases;
  });
}

async function weighed({ pid }: ModelServer, load: () => Promise<Measured>): Promise<Record<string, number>> {
  const before = cpuMs(pid);
  const measured = await load();
  // the second of warming up is in the time and not among the calls
  const cpu = ((cpuMs(pid) - before) * seconds) / (seconds + 1) / measured.calls;
  return {
    rps: round1(measured.rps),
    p50_ms: round3(measured.p50_ms),
    p99_ms: round3(measured.p99_ms),
    mb_per_s: round1(measured.rps * megabytes),
    cpu_ms: round3(cpu),
  };
}

function typedOf(dir: string, raw: InferRequest, data: Float32Array): InferRequest {
  const contents = oip.InferTensorContents.fromPartial({ fp32Contents: Array.from(data) });
  const inputs = raw.message.inputs.map((input) => ({ ...input, contents }));
  const message: oip.ModelInferRequest = { ...raw.message, inputs, rawInputContents: [] };
  const grpcFile = join(dir, 'typed.grpc');
  writeFileSync(grpcFile, oip.ModelInferRequest.encode(message).finish());
  return { ...raw, message, grpcFile };
}

function binaryOf({ dir }: ModelServer, { path }: InferRequest, data: Float32Array) {
  const parameters = { binary_data_size: data.byteLength };
  const inputs = [{ name: 'IN', datatype: 'FP32', shape: [1, columns], parameters }];
  const json = Buffer.from(JSON.stringify({ id: 'bench', parameters: { binary_data_output: true }, inputs }));
  const jsonFile = join(dir, 'wide.binary');
  writeFileSync(jsonFile, Buffer.concat([json, Buffer.from(data.buffer)]));
  return { path, jsonFile, jsonBytes: json.length };
}
