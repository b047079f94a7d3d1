import type { ModelFacts } from '@millrace/onnx';

/** What the service and an ONNX worker tell each other. Types are onnxruntime's names. */
export interface WireTensor {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
  readonly data: unknown;
}

export interface WireSpec {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
}

export interface WorkerStart {
  readonly bytes: Uint8Array;
  readonly threads: number;
}

export interface WorkerRequest {
  readonly id: number;
  readonly feeds: readonly WireTensor[];
  readonly fetches: readonly string[];
}

export type WorkerAnswer =
  | {
      readonly t: 'ready';
      readonly inputs: readonly WireSpec[];
      readonly outputs: readonly WireSpec[];
      readonly facts: ModelFacts;
    }
  | { readonly t: 'failed'; readonly message: string }
  | { readonly t: 'result'; readonly id: number; readonly outputs: readonly WireTensor[] }
  | { readonly t: 'error'; readonly id: number; readonly message: string };
