import type { Reason } from '@millrace/kernel';
import type { SampledWork } from '../app/explain.ts';

/** A file whose trees are explained: a model's own, or the one that was registered beside it. */
export interface TreeSource {
  readonly path: string;
  readonly uri: string;
  readonly sha256: string;
  readonly model: string;
  /** Else what XGBoost or LightGBM wrote. */
  readonly isOnnx: boolean;
}

/** Row-major; see domain/explanation.ts. */
export interface WireExplanation {
  readonly outputs: number;
  readonly featureNames: readonly string[];
  readonly values: Float64Array;
  readonly standardErrors: Float64Array | undefined;
  readonly bases: Float64Array;
  readonly margins: Float64Array;
  readonly residuals: Float64Array;
}

export interface ExactJob {
  readonly t: 'exact';
  readonly source: TreeSource;
  readonly width: number;
  /** [rows, width] */
  readonly rows: Float64Array;
}

export interface SampledJob extends SampledWork {
  readonly t: 'sampled';
}

interface WireError {
  readonly reason: Reason;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export type ToExplainer =
  | { readonly t: 'begin'; readonly id: number; readonly job: ExactJob | SampledJob }
  | { readonly t: 'abort'; readonly id: number }
  | {
      readonly t: 'scored';
      readonly id: number;
      readonly call: number;
      /** [rows, outputs] */
      readonly scores: Float64Array;
      readonly outputs: number;
    }
  | ({ readonly t: 'not_scored'; readonly id: number; readonly call: number } & WireError);

export type FromExplainer =
  | { readonly t: 'done'; readonly id: number; readonly explanation: WireExplanation }
  | ({ readonly t: 'failed'; readonly id: number } & WireError)
  /** Asks for what the model says of rows [count, width]. */
  | {
      readonly t: 'score';
      readonly id: number;
      readonly call: number;
      readonly rows: Float64Array;
      readonly count: number;
    };
