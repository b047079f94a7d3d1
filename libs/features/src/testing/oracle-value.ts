import type { FeatureValue } from '../types.ts';

/** What a feature's value was made of: how large a rounding error may be. */
export interface OracleValue {
  readonly value: FeatureValue;
  readonly largest: number;
  readonly count: number;
  /** Of what is made of other values: how far theirs lets it be off; ∞ where they hardly tell anything. */
  readonly slack?: number;
}
