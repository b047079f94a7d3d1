import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { oip } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { eventually } from '@millrace/testkit';
import { runClient } from '../serving-load.ts';

export const method = '/inference.GRPCInferenceService/ModelInfer';

/** One FP32 tensor, as all the models here take. */
export type InferInput = {
  readonly model: string;
  readonly input: string;
  readonly shape: readonly [rows: number, columns: number];
  readonly data: Float32Array;
};

export type Measured = {
  readonly rps: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly calls: number;
  readonly errors: number;
  /** Of the load generator; near 1 it was the limit. */
  readonly cores: number;
};

export type Load = { readonly connections: number; readonly inFlight: number; readonly seconds: number };

/** The same request over both wires, made once for all servers; files are written into `dir`. */
export type InferRequest = {
  readonly message: oip.ModelInferRequest;
  readonly json: string;
  readonly grpcFile: string;
  readonly jsonFile: string;
  readonly path: string;
};

export function inferRequest(dir: string, { model, input, shape, data }: InferInput): InferRequest {
  const message = oip.ModelInferRequest.fromPartial({
    modelName: model,
    id: 'bench',
    inputs: [{ name: input, datatype: 'FP32', shape: shape.map(BigInt) }],
    rawInputContents: [Buffer.from(data.buffer, data.byteOffset, data.byteLength)],
  } as never);
  const inputs = [{ name: input, datatype: 'FP32', shape, data: Array.from(data) }];
  const json = JSON.stringify({ id: 'bench', inputs });
  const file = (kind: string) => join(dir, `${model}-${shape.join('x')}.${kind}`);
  writeFileSync(file('grpc'), oip.ModelInferRequest.encode(message).finish());
  writeFileSync(file('json'), json);
  return { message, json, grpcFile: file('grpc'), jsonFile: file('json'), path: `/v2/models/${model}/infer` };
}

/** Waits until the server answers; its outputs as numbers, in their order, and the size of its answer. */
export async function askGrpc(
  address: string,
  { message }: InferRequest,
): Promise<{ readonly outputs: ReadonlyMap<string, readonly number[]>; readonly bytes: Uint8Array }> {
  const client = connect(oip.GRPCInferenceServiceService, address, { defaultTimeoutMs: 10_000 });
  try {
    const answer = await eventually(() => client.modelInfer(message), { timeoutMs: 30_000 });
    const outputs = answer.outputs.map(({ name, datatype }, at): [string, number[]] => {
      const raw = answer.rawOutputContents[at] ?? Buffer.alloc(0);
      return [name, numbersOf(datatype, raw)];
    });
    return { outputs: new Map(outputs), bytes: oip.ModelInferResponse.encode(answer).finish() };
  } finally {
    client.close();
  }
}

function numbersOf(datatype: string, raw: Buffer): number[] {
  switch (datatype) {
    case 'FP32':
      return Array.from({ length: raw.length / 4 }, (_, at) => raw.readFloatLE(at * 4));
    case 'INT64':
      return Array.from({ length: raw.length / 8 }, (_, at) => Number(raw.readBigInt64LE(at * 8)));
    default:
      throw new Error(`an output is ${datatype}, which no model here answers`);
  }
}

/** The same over REST. */
export async function askRest(address: string, { path, json }: InferRequest): Promise<ReadonlyMap<string, number[]>> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`http://${address}${path}`, { method: 'POST', headers, body: json });
  if (!response.ok) throw new Error(`${address}${path} answers ${response.status}: ${await response.text()}`);
  const { outputs } = (await response.json()) as { outputs: { name: string; data: number[] | number[][] }[] };
  return new Map(outputs.map(({ name, data }) => [name, data.flat()]));
}

/** Throws unless both have the same outputs. */
export function checkSame(
  server: string,
  given: ReadonlyMap<string, readonly number[]>,
  expected: ReadonlyMap<string, readonly number[]>,
): void {
  for (const [name, values] of expected) {
    const theirs = given.get(name) ?? [];
    const isSame = theirs.length === values.length && values.every((value, at) => closeTo(value, theirs[at]));
    if (!isSame) throw new Error(`${server} answers ${name} [${theirs}], expected [${values}]`);
  }
}

const closeTo = (one: number, other = Number.NaN) => Math.abs(one - other) <= 1e-5 * Math.max(1, Math.abs(one));

/** Closed loop; an answer of another size than the first is an error, and errors throw. */
export async function loadGrpc(address: string, request: InferRequest, load: Load): Promise<Measured> {
  const { bytes } = await askGrpc(address, request);
  const { connections, inFlight, seconds } = load;
  const args = [address, method, request.grpcFile, connections, inFlight, seconds, bytes.length];
  return noErrors(address, await runClient<Measured>('lean-client.ts', args));
}

/** With `jsonBytes` the file is JSON of that length and binary tensors behind it. */
export async function loadRest(
  address: string,
  { path, jsonFile, jsonBytes }: Pick<InferRequest, 'path' | 'jsonFile'> & { readonly jsonBytes?: number },
  { connections, seconds }: Omit<Load, 'inFlight'>,
): Promise<Measured> {
  const args = [address, path, jsonFile, connections, seconds, 1, jsonBytes ?? ''];
  return noErrors(address, await runClient<Measured>('../feast/http-client.ts', args));
}

function noErrors(address: string, measured: Measured): Measured {
  if (measured.errors > 0) throw new Error(`${address}: ${measured.errors} calls failed`);
  if (!(measured.rps > 0)) throw new Error(`${address}: nothing was answered`);
  return measured;
}
