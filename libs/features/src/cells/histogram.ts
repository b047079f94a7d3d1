import type { Cell, Finish, Merge } from './cell.ts';

/** Slots n, then a count for each bucket. */
export function histogramMerger({ width }: Cell): Merge {
  return (to, at, from, fromAt) => {
    for (let i = 0; i < width; i++) to[at + i] = (to[at + i] as number) + (from[fromAt + i] as number);
  };
}

/** How many edges are not above the value: bucket i holds edge i − 1 ≤ value < edge i. */
export function bucketAmong(edges: readonly number[], value: number): number {
  let low = 0;
  let high = edges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((edges[middle] as number) <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function histogramFinisher({ width }: Cell): Finish {
  return (slots, at) => slots.slice(at + 1, at + width);
}

/** The counts of all buckets as an array of Int64; an integer counts as the nearest double. */
export function histogramSql({ edges }: Cell, value: string, where: string): string {
  const bucket = `toUInt16(arrayCount(edge -> edge <= toFloat64(${value}), [${edges.map((edge) => `toFloat64(${edge})`).join(', ')}]))`;
  const counts = `sumMapIf([${bucket}], [toUInt64(1)], ${where})`;
  return `arrayMap(m -> arrayMap(i -> toInt64(m.2[indexOf(m.1, i)]), range(toUInt16(${edges.length + 1}))), [${counts}])[1]`;
}
