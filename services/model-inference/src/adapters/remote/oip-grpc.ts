import type { ServiceError } from '@grpc/grpc-js';
import { oip } from '@millrace/contracts';
import { MeshError, type Reason } from '@millrace/kernel';
import { type Client, connect } from '@millrace/rpc';
import type { Tensors } from '../../domain/batch-tensors.ts';
import { toRaw } from '../../domain/raw-tensor.ts';
import type { RemotePlace } from '../../domain/remote-uri.ts';
import { decodeTensors } from '../../rpc/oip-tensors.ts';
import { type RemoteBackend, type RemoteCall, remoteError, remoteSpec } from './backend.ts';

/** Any server of the Open Inference Protocol over gRPC: Triton, KServe, MLServer, or one of ours. Tensors go raw. */
export function openOipGrpc(
  { server, model, version }: RemotePlace,
  uri: string,
  maxMessageBytes: number,
): RemoteBackend {
  const client: Client<typeof oip.GRPCInferenceServiceService> = connect(oip.GRPCInferenceServiceService, server, {
    maxMessageBytes,
  });
  const asked = { name: model, version };
  const told = <T>(call: Promise<T>) =>
    call.catch((thrown) => {
      throw fromGrpc(uri, thrown);
    });
  return {
    async describe(call) {
      const { platform, versions, inputs, outputs } = await told(client.modelMetadata(asked, call));
      const specs = (tensors: typeof inputs) =>
        tensors.map(({ name, datatype, shape }) => remoteSpec(uri, name, datatype, shape));
      return { platform, versions, inputs: specs(inputs), outputs: specs(outputs) };
    },
    async ready(call) {
      const { ready } = await told(client.modelReady(asked, call));
      return ready;
    },
    async infer(inputs, outputs, call: RemoteCall): Promise<Tensors> {
      const names = [...inputs];
      const response = await told(
        client.modelInfer(
          {
            modelName: model,
            modelVersion: version,
            id: '',
            parameters: new Map(),
            inputs: names.map(([name, { datatype, shape }]) => ({
              name,
              datatype,
              shape: shape.map(BigInt),
              parameters: new Map(),
              contents: undefined,
            })),
            outputs: outputs.map(({ name }) => ({ name, parameters: new Map() })),
            rawInputContents: names.map(([, tensor]) => toRaw(tensor)),
          },
          call,
        ),
      );
      try {
        const { outputs: given, rawOutputContents: raw } = response;
        // MLServer 1.7 sends an empty `contents` beside the raw bytes
        return decodeTensors(raw.length > 0 ? given.map((one) => ({ ...one, contents: undefined })) : given, raw);
      } catch (cause) {
        throw remoteError('MODEL_RUN_FAILED', uri, `its answer cannot be read: ${(cause as Error).message}`, cause);
      }
    },
    close: () => client.close(),
  };
}

/** By the code of google.rpc: whose fault it is, and whether another try may help. */
const reasons: Readonly<Record<number, Reason>> = {
  1: 'CANCELLED',
  3: 'INVALID_ARGUMENT',
  4: 'DEADLINE_EXCEEDED',
  5: 'MODEL_NOT_READY',
  8: 'OVERLOADED',
  12: 'UNSUPPORTED',
  14: 'SERVICE_UNAVAILABLE',
};

function fromGrpc(uri: string, thrown: unknown): MeshError {
  if (!(thrown instanceof MeshError)) return remoteError('MODEL_RUN_FAILED', uri, String(thrown), thrown);
  const { details, code = thrown.code } = (thrown.cause ?? {}) as Partial<ServiceError>;
  return remoteError(reasons[code] ?? 'MODEL_RUN_FAILED', uri, details || thrown.message, thrown, thrown.retryAfterMs);
}
