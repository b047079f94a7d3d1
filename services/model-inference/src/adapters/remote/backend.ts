import { MeshError, type Reason } from '@millrace/kernel';
import type { Tensors } from '../../domain/batch-tensors.ts';
import { isDatatype, type TensorSpec } from '../../domain/tensor.ts';

export interface RemoteCall {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** A server that serves a model for us. What it throws is a `RemoteError`. */
export interface RemoteBackend {
  /** What it says of the model. */
  describe(call: RemoteCall): Promise<RemoteShape>;
  ready(call: RemoteCall): Promise<boolean>;
  /** Tensors of the outputs that were asked for, as it gave them. */
  infer(inputs: Tensors, outputs: readonly TensorSpec[], call: RemoteCall): Promise<Tensors>;
  close(): void;
}

export interface RemoteShape {
  readonly platform: string;
  readonly versions: readonly string[];
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** What became of a call, in our reasons; the backend and its own words are in the message. */
export class RemoteError extends MeshError {
  /** Another try may find it well. */
  get isUnavailable(): boolean {
    return this.reason === 'SERVICE_UNAVAILABLE';
  }
}

export function remoteError(
  reason: Reason,
  backend: string,
  said: string,
  cause?: unknown,
  retryAfterMs?: number,
): RemoteError {
  return new RemoteError(
    reason,
    `backend ${backend}: ${said}`,
    { backend },
    {
      cause,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    },
  );
}

/** A tensor as a backend declares it. MODEL_LOAD_FAILED for datatypes that we cannot carry. */
export function remoteSpec(
  backend: string,
  name: string,
  datatype: string,
  shape: readonly (number | bigint | string)[],
): TensorSpec {
  if (!isDatatype(datatype))
    throw remoteError('MODEL_LOAD_FAILED', backend, `its tensor "${name}" is ${datatype}, which is not carried`);
  return { name, datatype, shape: shape.map((size) => (Number(size) < 0 ? -1 : Number(size))) };
}
