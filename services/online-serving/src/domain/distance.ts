export type Metric = 'cosine' | 'l2' | 'dot';

/** Less is nearer: 1 − cos, the Euclidean distance, or minus the inner product. NaN of a cosine with a vector of zeros. */
export function distanceOf(metric: Metric, x: ArrayLike<number>, y: ArrayLike<number>): number {
  let dot = 0;
  let xx = 0;
  let yy = 0;
  let squares = 0;
  for (let i = 0; i < x.length; i++) {
    const a = x[i] as number;
    const b = y[i] as number;
    dot += a * b;
    xx += a * a;
    yy += b * b;
    squares += (a - b) * (a - b);
  }
  if (metric === 'dot') return -dot;
  if (metric === 'l2') return Math.sqrt(squares);
  return Math.max(0, 1 - dot / Math.sqrt(xx * yy));
}
