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

/** Adds `from` to `to`: in place where it holds little, else into a new array, which is returned. */
export function addCounts(to: SortedCounts, from: SortedCounts): SortedCounts {
  if (16 * from.length < to.length) {
    for (let i = 0; i < from.length; i += 2) addCount(to, from[i] as number, from[i + 1] as number);
    return to;
  }
  const merged: SortedCounts = [];
  let x = 0;
  let y = 0;
  while (x < to.length && y < from.length) {
    const [a, b] = [to[x] as number, from[y] as number];
    if (a < b) merged.push(a, to[x + 1] as number);
    else if (a > b) merged.push(b, from[y + 1] as number);
    else merged.push(a, (to[x + 1] as number) + (from[y + 1] as number));
    if (a <= b) x += 2;
    if (a >= b) y += 2;
  }
  for (; x < to.length; x++) merged.push(to[x] as number);
  for (; y < from.length; y++) merged.push(from[y] as number);
  return merged;
}
