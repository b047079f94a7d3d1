import type { Reason } from '@millrace/kernel';
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
  /** −1 for a dimension of any size. */
  readonly shape: readonly number[];
}

export interface SessionShape {
  /** What the file says of itself. */
  readonly facts: ModelFacts;
  readonly inputs: readonly WireSpec[];
  readonly outputs: readonly WireSpec[];
}

/** What a session is made of; the worker reads the file, so that nobody waits for it. */
export interface SessionSource {
  readonly path: string;
  readonly sha256: string;
  /** As registered: what errors call the file. */
  readonly uri: string;
  readonly model: string;
  /** As registered. */
  readonly format: string;
  readonly threads: number;
}

/** What a model is measured with at load. */
export interface MeasureOptions {
  readonly rows: readonly number[];
  /** The largest sizes are left out when the time is over. */
  readonly budgetMs: number;
}

export interface Measurement {
  /** Microseconds of a run of so many rows, the median. */
  readonly curve: readonly { readonly rows: number; readonly us: number }[];
  /** Why rows may not share a run; undefined when each row's answer was what it is alone. */
  readonly unsafe: string | undefined;
}

export type WorkerRequest =
  | { readonly t: 'load'; readonly id: number; readonly session: number; readonly source: SessionSource }
  | { readonly t: 'measure'; readonly id: number; readonly session: number; readonly options: MeasureOptions }
  | {
      readonly t: 'warm';
      readonly id: number;
      readonly session: number;
      readonly runs: readonly (readonly WireTensor[])[];
      /** What is left when it is over is left out. */
      readonly budgetMs: number;
    }
  | { readonly t: 'unload'; readonly id: number; readonly session: number }
  | {
      readonly t: 'run';
      readonly id: number;
      readonly session: number;
      readonly feeds: readonly WireTensor[];
      readonly fetches: readonly string[];
    };

export type WorkerAnswer =
  | { readonly t: 'done'; readonly id: number; readonly value: unknown }
  | {
      readonly t: 'error';
      readonly id: number;
      readonly reason: Reason;
      readonly message: string;
      readonly metadata: Readonly<Record<string, string>>;
    };
