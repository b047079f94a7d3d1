import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { rpcErrors, rpcStatus } from '@millrace/contracts';
import { isReason, MeshError, type Reason, toMeshError } from '@millrace/kernel';

const domain = 'millrace';
const detailsKey = 'grpc-status-details-bin';
const errorInfoUrl = 'type.googleapis.com/google.rpc.ErrorInfo';
const retryInfoUrl = 'type.googleapis.com/google.rpc.RetryInfo';

/** Anything thrown, as the message that carries it where a call goes on: in one answer of many. */
export function toRpcStatus(thrown: unknown): rpcStatus.Status {
  const error = toMeshError(thrown);
  const details = [
    {
      typeUrl: errorInfoUrl,
      value: Buffer.from(
        rpcErrors.ErrorInfo.encode({
          reason: error.reason,
          domain,
          metadata: new Map(Object.entries(error.metadata)),
        }).finish(),
      ),
    },
  ];
  if (error.retryAfterMs !== undefined) {
    const seconds = BigInt(Math.floor(error.retryAfterMs / 1000));
    const nanos = (error.retryAfterMs % 1000) * 1e6;
    details.push({
      typeUrl: retryInfoUrl,
      value: Buffer.from(rpcErrors.RetryInfo.encode({ retryDelay: { seconds, nanos } }).finish()),
    });
  }
  return { code: error.code, message: error.message, details };
}

/** The MeshError that a status message was made of; undefined when it has no ErrorInfo. */
export function fromRpcStatus(status: rpcStatus.Status, cause?: unknown): MeshError | undefined {
  const { message, details } = status;
  const info = details.find(({ typeUrl }) => typeUrl === errorInfoUrl);
  if (!info) return undefined;
  const retry = details.find(({ typeUrl }) => typeUrl === retryInfoUrl);
  const { reason, metadata } = rpcErrors.ErrorInfo.decode(info.value);
  const delay = retry && rpcErrors.RetryInfo.decode(retry.value).retryDelay;
  return new MeshError(isReason(reason) ? reason : 'INTERNAL', message, Object.fromEntries(metadata), {
    cause,
    ...(delay ? { retryAfterMs: Number(delay.seconds) * 1000 + delay.nanos / 1e6 } : {}),
  });
}

const fallbackReasons: Readonly<Partial<Record<number, Reason>>> = {
  [status.CANCELLED]: 'CANCELLED',
  [status.INVALID_ARGUMENT]: 'INVALID_ARGUMENT',
  [status.DEADLINE_EXCEEDED]: 'DEADLINE_EXCEEDED',
  [status.RESOURCE_EXHAUSTED]: 'LIMIT_EXCEEDED',
  [status.UNAVAILABLE]: 'SERVICE_UNAVAILABLE',
};

/** A failed call, as the MeshError that the server threw; without its details, by the status code. */
export function fromGrpcError(thrown: unknown, call: { readonly path: string; readonly address: string }): MeshError {
  if (thrown instanceof MeshError || !isServiceError(thrown)) return toMeshError(thrown);
  const [bytes] = thrown.metadata.get(detailsKey);
  if (bytes instanceof Buffer) {
    const error = fromRpcStatus(rpcStatus.Status.decode(bytes), thrown);
    if (error) return error;
  }
  const reason = fallbackReasons[thrown.code] ?? 'INTERNAL';
  return new MeshError(reason, `${call.path} at "${call.address}": ${thrown.details}`, { ...call }, { cause: thrown });
}

/** The same, from the fields that the answer of a failed call ends with; details in Base64. */
export function fromStatusFields(
  fields: { readonly code: number; readonly message: string; readonly details: string | undefined },
  call: { readonly path: string; readonly address: string },
): MeshError {
  const { code, message, details } = fields;
  if (details !== undefined) {
    const error = fromRpcStatus(rpcStatus.Status.decode(Buffer.from(details, 'base64')));
    if (error) return error;
  }
  return new MeshError(fallbackReasons[code] ?? 'INTERNAL', `${call.path} at "${call.address}": ${message}`, {
    ...call,
  });
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && 'code' in thrown && 'metadata' in thrown && thrown.metadata instanceof Metadata;
}
