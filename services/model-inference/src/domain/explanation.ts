import { MeshError } from '@millrace/kernel';

export type ExplainMethod = 'exact' | 'sampled';

/** What a caller may ask of attributions. */
export interface ExplainAsk {
  /** Left out: exact where the trees are known. */
  readonly method?: ExplainMethod | undefined;
  /** Of sampled: the output tensor. */
  readonly output?: string | undefined;
  readonly pairs?: number | undefined;
  readonly seed?: number | undefined;
  /** Of sampled: rows that say what features have that are not known. */
  readonly background?: readonly ArrayLike<number>[] | undefined;
}

/** Attributions of N rows, K outputs and F features; row-major. */
export interface Explanation {
  readonly method: ExplainMethod;
  /** Why it is not exact, where it is not. */
  readonly note: string;
  /** `margin`, or the output tensor. */
  readonly output: string;
  readonly features: readonly string[];
  /** One of each output; empty where the model has no classes. */
  readonly labels: readonly string[];
  readonly rows: number;
  readonly outputs: number;
  /** [N, K, F] */
  readonly values: Float64Array;
  /** [N, K, F]; of sampled. */
  readonly standardErrors: Float64Array | undefined;
  /** [N, K] */
  readonly bases: Float64Array;
  readonly margins: Float64Array;
  readonly residuals: Float64Array;
  readonly pairs: number;
}

/** The method by its name on the wire; empty is none. */
export function methodOf(text: string): ExplainMethod | undefined {
  if (text === '') return undefined;
  if (text === 'exact' || text === 'sampled') return text;
  throw new MeshError('INVALID_ARGUMENT', `"${text}" is no way to explain; ways: exact, sampled`, { method: text });
}

/** Pairs of permutations a row unless the caller says: about 64, and all background rows count alike. */
export function pairsFor(background: number): number {
  return Math.ceil(Math.max(64, background) / background) * background;
}
