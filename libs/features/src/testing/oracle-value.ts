import type { FeatureValue } from '../types.ts';

/** One event as a person would write it down: fields that are absent are null. */
export interface OracleEvent {
  readonly timeUs: number;
  readonly seq: number;
  readonly index: number;
  readonly fields: Readonly<Record<string, FeatureValue>>;
}

/** What a feature's value was made of: how large a rounding error may be. */
export interface OracleValue {
  readonly value: FeatureValue;
  readonly largest: number;
  readonly count: number;
  /** Of what is made of other values: how far theirs lets it be off; ∞ where they hardly tell anything. */
  readonly slack?: number;
}
