/** Counts by key as one array, key and count in turn, keys ascending. */
export type SortedCounts = number[];

/** Adds to the count of a key, in place. */
export function addCount(counts: SortedCounts, key: number, count: number): void {
  let low = 0;
  let high = counts.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((counts[2 * middle] as number) < key) low = middle + 1;
    else high = middle;
  }
  if (counts[2 * low] === key) counts[2 * low + 1] = (counts[2 * low + 1] as number) + count;
  else if (2 * low === counts.length) counts.push(key, count);
  else counts.splice(2 * low, 0, key, count);
}

/** Adds `from` to `to`: in place where it holds few, else into a new array, which is returned. */
export function addCounts(to: SortedCounts, from: SortedCounts): SortedCounts {
  if (4 * from.length < to.length) {
    for (let i = 0; i < from.length; i += 2) addCount(to, from[i] as number, from[i + 1] as number);
    return to;
  }
  // a copy has its room at once; what is written over has been read
  const merged = to.slice();
  let count = 0;
  let x = 0;
  let y = 0;
  while (x < to.length && y < from.length) {
    const a = to[x] as number;
    const b = from[y] as number;
    merged[count] = a < b ? a : b;
    merged[count + 1] = (a <= b ? (to[x + 1] as number) : 0) + (b <= a ? (from[y + 1] as number) : 0);
    count += 2;
    if (a <= b) x += 2;
    if (a >= b) y += 2;
  }
  for (; x < to.length; x++) merged[count++] = to[x] as number;
  for (; y < from.length; y++) merged[count++] = from[y] as number;
  merged.length = count;
  return merged;
}
