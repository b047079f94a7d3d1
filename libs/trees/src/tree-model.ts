import type { TreeEnsemble } from './trees.ts';

/** How margins become what the library's own `Booster.predict` answers. */
export type Link =
  | { readonly t: 'identity' }
  /** 1 ÷ (1 + exp(−slope × margin)), of each output by itself. */
  | { readonly t: 'logistic'; readonly slope: number }
  | { readonly t: 'exp' }
  | { readonly t: 'softmax' }
  /** The number of the largest output. */
  | { readonly t: 'argmax' }
  /** 1 above 0, else 0. */
  | { readonly t: 'step' }
  /** margin × |margin|: LightGBM's reg_sqrt. */
  | { readonly t: 'signed_square' }
  /** log(1 + exp(margin)): LightGBM's cross_entropy_lambda. */
  | { readonly t: 'softplus' };

/** A native file of a library: its trees, and how it predicts with them. */
export interface TreeModel {
  readonly library: 'xgboost' | 'lightgbm';
  /** Empty when the file does not say. */
  readonly libraryVersion: string;
  /** As the file calls it; empty for none. */
  readonly objective: string;
  readonly link: Link;
  readonly ensemble: TreeEnsemble;
}

/** Values of a prediction. */
export function predictionWidth({ link, ensemble }: TreeModel): number {
  return link.t === 'argmax' ? 1 : ensemble.outputs;
}
