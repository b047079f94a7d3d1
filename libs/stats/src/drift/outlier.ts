import type { ColumnProfile } from './profile.ts';

/** Of each column: its median, and one over its spread. */
export interface OutlierScales {
  readonly medians: Float64Array;
  readonly perSpread: Float64Array;
}

/** What a value of a column that never varied counts when it does, and the most that any value counts. */
export const outlierMax = 1_000;

/** Between the 5th and 95th percentile a normal column spreads so many standard deviations. */
const normalSpread = 3.2897072539029435;

/** The spread of a column is (95th − 5th percentile) / 3.29, its standard deviation where those are equal. */
export function outlierScales(columns: readonly ColumnProfile[]): OutlierScales {
  const spreads = columns.map(({ percentiles, std }) => {
    const spread = ((percentiles[95] ?? 0) - (percentiles[5] ?? 0)) / normalSpread;
    return spread > 0 ? spread : std;
  });
  return {
    medians: Float64Array.from(columns, ({ percentiles }) => percentiles[50] ?? Number.NaN),
    perSpread: Float64Array.from(spreads, (spread) => (spread > 0 ? 1 / spread : Infinity)),
  };
}

/** A row is as far out as its column that is farthest: max |value − median| / spread, at most 1,000; missing values count 0. */
export function outlierOf(
  { medians, perSpread }: OutlierScales,
  values: ArrayLike<number>,
  from: number,
): { readonly score: number; readonly column: number } {
  let [score, column] = [0, -1];
  for (let at = 0; at < medians.length; at++) {
    const away = Math.abs((values[from + at] as number) - (medians[at] as number));
    // NaN, also of 0 × Infinity, is not above
    const one = away === 0 ? 0 : away * (perSpread[at] as number);
    if (one > score) [score, column] = [one, at];
  }
  return { score: Math.min(score, outlierMax), column };
}
