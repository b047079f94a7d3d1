import type { Finish, Merge, Part, Slots } from './cell.ts';

/**
 * The least-squares line through (event time, value) of each event: slots n, an instant, the mean time since it, the mean value, the sum of the
 * squared distances of times from their mean, and of their products with those of the values (Chan, Golub and LeVeque, 1983). Instants are whole
 * microseconds, so their differences are exact.
 */
export const mergeTrend: Merge = (to, at, from, fromAt) => {
  const n = from[fromAt] as number;
  if (n === 0) return;
  const m = to[at] as number;
  if (m === 0) {
    for (let i = 0; i < 6; i++) to[at + i] = from[fromAt + i] as number;
    return;
  }
  const shift = (from[fromAt + 1] as number) - (to[at + 1] as number);
  const time = shift + (from[fromAt + 2] as number) - (to[at + 2] as number);
  const value = (from[fromAt + 3] as number) - (to[at + 3] as number);
  to[at] = m + n;
  to[at + 2] = (to[at + 2] as number) + (time * n) / (m + n);
  to[at + 3] = (to[at + 3] as number) + (value * n) / (m + n);
  to[at + 4] = (to[at + 4] as number) + (from[fromAt + 4] as number) + (time * time * m * n) / (m + n);
  to[at + 5] = (to[at + 5] as number) + (from[fromAt + 5] as number) + (time * value * m * n) / (m + n);
};

/** The slope per second; null of fewer than two instants. */
export const finishTrend: Finish = (slots, at) => {
  const squares = slots[at + 4] as number;
  return squares === 0 ? null : ((slots[at + 5] as number) / squares) * 1e6;
};

/** Times are told from `instantUs`. */
export function trendSql(eventUs: string, instantUs: string, value: string, where: string): string {
  const since = `toFloat64(${eventUs} - ${instantUs})`;
  const slope = `covarPopStableIf(${since}, toFloat64(${value}), ${where}) / varPopStableIf(${since}, ${where}) * 1e6`;
  return `if(minIf(${eventUs}, ${where}) = maxIf(${eventUs}, ${where}), NULL, ${slope})`;
}

/** `[instant, mean time, mean value, variance of times, covariance]` as JSON. */
export function trendPartSql(eventUs: string, instantUs: string, value: string, where: string): string {
  const since = `toFloat64(${eventUs} - ${instantUs})`;
  const [mean, variance, covariance] = [
    (of: string) => `avgIf(${of}, ${where})`,
    `varPopStableIf(${since}, ${where})`,
    `covarPopStableIf(${since}, toFloat64(${value}), ${where})`,
  ];
  // times that are all the same have no variance, not even that of rounding
  const squares = `if(minIf(${eventUs}, ${where}) = maxIf(${eventUs}, ${where}), 0, ${variance})`;
  return `toJSONString([toFloat64(${instantUs}), ${mean(since)}, ${mean(`toFloat64(${value})`)}, ${squares}, ${covariance}])`;
}

export function readTrend(json: string, slots: Slots): Part {
  const n = slots[0] as number;
  const [instant, time, value, variance, covariance] = (JSON.parse(json) as unknown[]).map(Number);
  slots[1] = instant ?? 0;
  slots[2] = time ?? 0;
  slots[3] = value ?? 0;
  slots[4] = (variance ?? 0) * n;
  slots[5] = (covariance ?? 0) * n;
  return null;
}
