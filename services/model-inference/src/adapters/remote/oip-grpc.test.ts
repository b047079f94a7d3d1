import { Server, ServerCredentials } from '@grpc/grpc-js';
import { oip } from '@millrace/contracts';
import { expect, test } from 'vitest';
import { remotePlace } from '../../domain/remote-uri.ts';
import { openOipGrpc } from './oip-grpc.ts';

const specs = [{ name: 'y', datatype: 'FP32', shape: [-1, 2] }] as const;
const empty = oip.InferTensorContents.fromPartial({} as never);

/** What a server of the protocol answers is up to it: raw, typed, or raw beside an empty message, as MLServer does. */
async function answerOf(given: Partial<oip.ModelInferResponse>) {
  const server = new Server();
  server.addService(oip.GRPCInferenceServiceService as never, {
    modelInfer: (_: unknown, reply: (error: null, response: unknown) => void) =>
      reply(null, oip.ModelInferResponse.fromPartial({ modelName: 'm', ...given } as never)),
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  const uri = `grpc://127.0.0.1:${port}/m`;
  const backend = openOipGrpc(remotePlace(uri), uri, 2 ** 20);
  const call = { timeoutMs: 2_000, signal: AbortSignal.timeout(5_000) };
  try {
    return await backend.infer(new Map(), specs, call).catch((error: Error) => error.message);
  } finally {
    backend.close();
    server.forceShutdown();
  }
}

const output = { name: 'y', datatype: 'FP32', shape: [1n, 2n], parameters: new Map(), contents: undefined };
const raw = Buffer.from(Float32Array.of(1, 2).buffer);
const wanted = new Map([['y', { datatype: 'FP32', shape: [1, 2], data: Float32Array.of(1, 2) }]]);

test('answers are read raw, typed, and raw beside empty contents', async () => {
  expect(await answerOf({ outputs: [output], rawOutputContents: [raw] })).toEqual(wanted);
  expect(await answerOf({ outputs: [{ ...output, contents: { ...empty, fp32Contents: [1, 2] } }] })).toEqual(wanted);
  expect(await answerOf({ outputs: [{ ...output, contents: empty }], rawOutputContents: [raw] })).toEqual(wanted);
});

test('an answer that cannot be read is the backend’s fault', async () => {
  expect(await answerOf({ outputs: [output], rawOutputContents: [raw.subarray(1)] })).toMatch(
    /^backend grpc:\S+: its answer cannot be read: .*takes 8 raw bytes and 7 were given/,
  );
  expect(await answerOf({ outputs: [{ ...output, datatype: 'FLOAT' }], rawOutputContents: [raw] })).toContain(
    '"FLOAT" is not a datatype',
  );
});
