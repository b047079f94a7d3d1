import { trainingSets } from '@millrace/contracts';

/** Which labels are taken, in the order that they have. */
export type SamplingOptions =
  | { readonly kind: 'random'; readonly rows?: number; readonly share?: number }
  /** Each value of a column in its share. */
  | { readonly kind: 'stratified'; readonly column: string; readonly rows?: number; readonly share?: number }
  /** As many of each value, as many as the rarest has unless `rows` says. */
  | { readonly kind: 'balanced'; readonly column: string; readonly rows?: number }
  /** Label times from one, until another which is not in it; UTC microseconds. */
  | { readonly kind: 'time'; readonly fromUs?: bigint; readonly untilUs?: bigint };

export type SplitKindName = keyof typeof splitKinds;

/** scikit-learn's splitter of that name, with its defaults. */
export interface SplitOptions {
  readonly kind: SplitKindName;
  /** Folds or splits. */
  readonly splits?: number;
  readonly shuffle?: boolean;
  /** Below 1 a share, else a number of rows. */
  readonly testSize?: number;
  readonly trainSize?: number;
  /** The label column whose classes keep their share. */
  readonly stratifyBy?: string;
  /** The label column whose values stay together, or that must not be on both sides. */
  readonly groupBy?: string;
  /** Rows between training and test of a time series. */
  readonly gap?: number;
  readonly maxTrainSize?: number;
}

const kinds = trainingSets.SplitKind;
export const splitKinds = {
  'hold-out': kinds.HOLD_OUT,
  'k-fold': kinds.K_FOLD,
  'stratified-k-fold': kinds.STRATIFIED_K_FOLD,
  'group-k-fold': kinds.GROUP_K_FOLD,
  'stratified-group-k-fold': kinds.STRATIFIED_GROUP_K_FOLD,
  'time-series': kinds.TIME_SERIES,
  shuffle: kinds.SHUFFLE,
  'stratified-shuffle': kinds.STRATIFIED_SHUFFLE,
  'group-shuffle': kinds.GROUP_SHUFFLE,
} as const;

export const samplingKinds = {
  random: trainingSets.SamplingKind.RANDOM,
  stratified: trainingSets.SamplingKind.STRATIFIED,
  balanced: trainingSets.SamplingKind.BALANCED,
  time: trainingSets.SamplingKind.TIME,
} as const;

export function toSampling(options: SamplingOptions): trainingSets.TrainingSetSampling {
  return trainingSets.TrainingSetSampling.fromPartial({
    kind: samplingKinds[options.kind],
    ...('column' in options ? { column: options.column } : {}),
    ...('share' in options && options.share !== undefined ? { share: options.share } : {}),
    ...('rows' in options && options.rows !== undefined ? { rows: BigInt(options.rows) } : {}),
    ...(options.kind === 'time' ? { fromUs: options.fromUs ?? 0n, untilUs: options.untilUs ?? 0n } : {}),
  });
}

export function toSplit({ kind, shuffle, ...options }: SplitOptions): trainingSets.TrainingSetSplit {
  return trainingSets.TrainingSetSplit.fromPartial({
    ...options,
    kind: splitKinds[kind],
    ...(shuffle === undefined ? {} : { shuffle }),
  });
}
