import type { FeatureType, FieldType, List, RowReader, Scalar, Value, ViewDefinition } from '@millrace/features';
import type { ShapeField } from '@millrace/registry';

export type StaleAction = 'serve' | 'null' | 'default' | 'fail';

/** The blocks of the answer; the numbers are `FeatureColumn.block` on the wire. */
export const Block = { DOUBLES: 1, INT64S: 2, STRINGS: 3, LISTS: 4, VECTORS: 5 } as const;

/** What is put in place of a value that is not there. */
export type Fallback = { readonly double: number; readonly int64: bigint; readonly text: string };

export type PlannedFeature = {
  readonly name: string;
  readonly type: FeatureType;
  /** Its place in the service, which is its column among the statuses. */
  readonly position: number;
  /** −1 of one that is computed from several views, or from none. */
  readonly view: number;
  /** Its place in its view; −1 of a derived one. */
  readonly featureIndex: number;
  readonly block: number;
  readonly column: number;
  /** The reader makes the value as of the read time. */
  readonly movesWithTime: boolean;
  readonly fallback: Fallback | null;
  /** Infinity: never stale. */
  readonly maxAgeUs: number;
  readonly staleAction: StaleAction;
};

export type PlannedView = {
  readonly name: string;
  readonly version: string;
  /** −1 of one whose rows are looked up. */
  readonly entity: number;
  readonly definition: ViewDefinition;
  readonly reader: RowReader;
  readonly features: readonly PlannedFeature[];
  /** The smallest max_age of its features. */
  readonly maxAgeUsMin: number;
  /** The `view` and `version` fields of its ViewRead message. */
  readonly wireHead: Buffer;
};

export type PlannedKey = { readonly name: string; readonly type: FieldType };

export type PlannedEntity = {
  readonly name: string;
  /** Which of the plan's keys make its key, in order; none where it is looked up. */
  readonly keys: readonly number[];
  /** The views read from its hash, in the order of the fields asked for. */
  readonly views: readonly number[];
  readonly versions: readonly { readonly view: string; readonly version: string }[];
};

/** Rows of an entity that are found by values of the same answer. */
export type PlannedLookup = {
  readonly entity: PlannedEntity;
  /** The key of every row, once the values that it comes from are in `source`. */
  readonly keysOf: (source: Matrix, request: readonly ReadValue[], keys: KeyColumns) => readonly LookupKey[];
};

/** The values of the plan's join keys that a request gives. */
export type KeyColumns = readonly (readonly Exclude<Scalar, null>[])[];

/** The values of join keys in the order of the entity, or the status of what has no value for want of them. */
export type LookupKey = readonly Exclude<Scalar, null>[] | number;

/** A feature service, compiled once: which hash fields, readers, columns and defaults. Immutable. */
export type Plan = {
  readonly name: string;
  readonly version: string;
  readonly features: readonly PlannedFeature[];
  readonly views: readonly PlannedView[];
  readonly entities: readonly PlannedEntity[];
  /** By level: what is looked up by values of the levels before. Left out where there is none. */
  readonly lookups?: readonly (readonly PlannedLookup[])[];
  readonly keys: readonly PlannedKey[];
  readonly doubles: number;
  readonly int64s: number;
  readonly strings: number;
  /** What the lists of each column hold. */
  readonly lists: readonly FieldType[];
  /** The dimension of each column of vectors. */
  readonly vectors: readonly number[];
  /** The `features` fields of the answer, and the `version` field. */
  readonly wireFeatures: Buffer;
  readonly wireVersion: Buffer;
  /** How the answer comes from what is read, when it is not that itself. */
  readonly derivation?: Derivation;
};

/** What an answer takes besides rows: a plan of what is read, and how derived features are made of it and of request data. */
export type Derivation = {
  readonly reads: Plan;
  readonly requestFields: readonly ShapeField[];
  /** Fills in an answer: copies what it holds of `source` and computes the rest. `request` has a reader for each request field. */
  readonly derive: (source: Matrix, target: Matrix, request: readonly ReadValue[]) => void;
};

export type ReadValue = (row: number) => Value;

/**
 * The answer for N rows. Its numbers, statuses and times lie in `bytes` where the wire wants them, so that to encode is to
 * append the strings, lists and vectors. Offsets of views that are left out are -1.
 */
export type Matrix = {
  readonly plan: Plan;
  readonly rows: number;
  readonly bytes: Buffer;
  readonly data: DataView;
  readonly doublesAt: number;
  readonly int64sAt: number;
  readonly statusesAt: number;
  /** For each view, where its event times start; positions and known times follow at `viewStride`. */
  readonly eventTimesAt: readonly number[];
  readonly positionsAt: readonly number[];
  readonly knownTimesAt: readonly number[];
  /** For each string column, its values. */
  readonly strings: readonly string[][];
  /** For each list column, its values; empty where it is null. */
  readonly lists: readonly List[][];
  /** For each vector column, the bytes of its vectors; null where there is none. */
  readonly vectors: readonly (Uint8Array | null)[][];
  /** By view that is looked up, the key of each row. */
  readonly lookupKeys: Map<number, readonly LookupKey[]> | undefined;
  readonly asOfUs: Float64Array;
  /** How many values have each status; the index is the ValueStatus. */
  readonly statusCounts: Int32Array;
};
