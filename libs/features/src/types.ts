/** The domain words of features; no wire types here. Times are UTC microseconds. */
export type FieldType = 'BOOL' | 'INT64' | 'DOUBLE' | 'STRING' | 'TIMESTAMP';

/** So many float32, all finite. */
export type VectorType = `VECTOR(${number})`;

/** The type of a source's field. */
export type SchemaType = FieldType | VectorType;

/** The type of a feature: a field's, or a list of single values. */
export type FeatureType = SchemaType | `${FieldType}[]`;

/** What a list or a vector is made of. */
export type ElementType = FieldType | 'FLOAT32';

/** A value: INT64 and TIMESTAMP are numbers while safe, bigints beyond 2^53. */
export type Scalar = number | bigint | string | boolean | null;

/** A list has no nulls in it, and is empty rather than null. A vector is one of numbers that a float32 holds, and may be null as a whole. */
export type List = readonly Exclude<Scalar, null>[];

export type FeatureValue = Scalar | List;

export type SourceField = {
  readonly name: string;
  readonly type: SchemaType;
  readonly nullable: boolean;
  /** Of events from before the field was added; integers beyond 2^53 as decimal text. */
  readonly default?: number | string | boolean;
};

export type AggregationFunction =
  | 'count'
  | 'sum'
  | 'mean'
  | 'rate'
  | 'min'
  | 'max'
  | 'variance'
  | 'stddev'
  | 'first'
  | 'last'
  | 'distinct'
  | 'percentile'
  | 'entropy'
  | 'age'
  | 'decayed_sum'
  | 'decayed_count'
  | 'decayed_mean'
  | 'last_n'
  | 'first_n'
  | 'last_distinct_n'
  | 'first_distinct_n'
  | 'top_k'
  | 'histogram'
  | 'trend'
  | 'ratio'
  | 'zscore'
  | 'change';

export type WindowSpec =
  /**
   * As of t: `[floor(t − size, hop), t)`; hop 0 is the default for the size. With an offset, whole hops of the past:
   * `[floor(t − offset − size, hop), floor(t − offset, hop))`.
   */
  | { readonly t: 'sliding'; readonly sizeUs: number; readonly hopUs: number; readonly offsetUs?: number }
  /** A sliding window whose hop is its size. */
  | { readonly t: 'tumbling'; readonly sizeUs: number; readonly offsetUs?: number }
  | { readonly t: 'lifetime' }
  /** As of t: the run of the entity's events, no two in a row farther apart than the gap, that ends less than that before t. */
  | { readonly t: 'session'; readonly gapUs: number };

export type FeatureDefinition = {
  readonly name: string;
  readonly function: AggregationFunction;
  /** Empty only for a count, rate, age or decayed count of events. */
  readonly field: string;
  /** CEL over the source's fields, in place of `field`; left out: the field. */
  readonly input?: string;
  readonly window: WindowSpec;
  /** CEL; empty: every event. */
  readonly filter: string;
  /** Degrees of freedom taken off by variance and stddev. */
  readonly ddof: number;
  /** Of a percentile: from 0, the smallest value, to 1, the largest. */
  readonly quantile?: number;
  /** Of decayed functions: after so long an event weighs half. */
  readonly halfLifeUs?: number;
  /** Of last_n, first_n, their distinct variants and top_k: how many values at most. */
  readonly n?: number;
  /** Of a histogram: ascending; bucket i counts edge i − 1 ≤ value < edge i. */
  readonly edges?: readonly number[];
  /** Of a ratio: what is divided, and by what. */
  readonly numerator?: Operand;
  readonly denominator?: Operand;
  /** Of a change: whose values are compared, and how long ago the earlier window ends. */
  readonly of?: AggregationFunction;
  readonly offsetUs?: number;
};

/** A feature computed from others when it is read: CEL over their names and `as_of`. */
export type DerivedDefinition = { readonly name: string; readonly expression: string };

/** One side of a ratio, over the ratio's window. */
export type Operand = Pick<FeatureDefinition, 'function' | 'field' | 'input' | 'filter' | 'ddof' | 'quantile'>;

export type JoinKeyDefinition = { readonly name: string; readonly type: FieldType; readonly field: string };

export type ViewDefinition = {
  readonly name: string;
  readonly version: string;
  readonly entity: string;
  readonly joinKeys: readonly JoinKeyDefinition[];
  readonly source: string;
  /** `upsert`: events of the source may be corrected and deleted. Left out: they stay as they are. */
  readonly changes?: 'upsert';
  readonly fields: readonly SourceField[];
  readonly features: readonly FeatureDefinition[];
  /** Computed from those; left out where there are none. */
  readonly derived?: readonly DerivedDefinition[];
};

/** A column of a batch; `nulls` has a byte per event, 1 for null. */
export type Column =
  | { readonly type: 'f64'; readonly values: Float64Array; readonly nulls: Uint8Array | null }
  | { readonly type: 'i64'; readonly values: BigInt64Array; readonly nulls: Uint8Array | null }
  | { readonly type: 'bool'; readonly values: Uint8Array; readonly nulls: Uint8Array | null }
  | { readonly type: 'str'; readonly values: readonly string[]; readonly nulls: Uint8Array | null }
  /** The vectors one after the other, zeros where one is null. */
  | {
      readonly type: 'vec';
      readonly dimension: number;
      readonly values: Float32Array;
      readonly nulls: Uint8Array | null;
    };

export type EventColumns = {
  readonly count: number;
  readonly eventTimeUs: Float64Array;
  readonly columns: ReadonlyMap<string, Column>;
};
