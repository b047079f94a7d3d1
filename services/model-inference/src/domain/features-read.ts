import type { serving } from '@millrace/contracts';

/** What a read of features answers, of the blocks that a vector can have; numbers of rows by columns, row-major. */
export interface FeaturesRead {
  /** NaN is null. */
  readonly doubles: Float64Array;
  /** Null is 0; beyond 2⁵³ the nearest double. */
  readonly int64s: Float64Array;
  /** A ValueStatus for each row and feature. */
  readonly statuses: Uint8Array;
  readonly views: readonly ViewTimes[];
  /** The same list, for as long as the service's answers have the same. */
  readonly features: readonly serving.FeatureColumn[];
  readonly version: string;
}

/** A view that was read; a number for each row, 0 for none. */
export interface ViewTimes {
  readonly view: string;
  readonly version: string;
  readonly eventTimesUs: Float64Array;
  readonly positions: Float64Array;
  readonly knownTimesUs: Float64Array;
}
