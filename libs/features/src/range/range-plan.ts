import type { RangePart } from './range-feature.ts';

/** A window's bounds among the bounds of a label: the number of an entity's events before its start, and before its end. */
export type RangeWindow = { readonly lo: number; readonly hi: number };

/** What a statement over ranges is made of. */
export interface RangePlan {
  /** Expressions on an event that become arrays c0, c1, …. */
  readonly columns: readonly string[];
  /** Expressions on a label's time `t` in µs, ascending with it; bound 0 is t itself. */
  readonly bounds: readonly string[];
  readonly windows: readonly RangeWindow[];
  readonly parts: readonly { readonly part: RangePart; readonly window: number }[];
  readonly values: readonly { readonly name: string; readonly sql: string }[];
  /** The bounds of `lateSpansUs`. */
  readonly firstSpan: number;
}
