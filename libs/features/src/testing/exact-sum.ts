import type { Scalar } from '../types.ts';

/** Shewchuk's partials (as in Python's fsum): no rounding until the end. */
export function exactSum(values: readonly NonNullable<Scalar>[]): number {
  const partials: number[] = [];
  for (const value of values) {
    let x = Number(value);
    let kept = 0;
    for (const partial of partials) {
      const [large, small] = Math.abs(x) < Math.abs(partial) ? [partial, x] : [x, partial];
      const sum = large + small;
      const lost = small - (sum - large);
      if (lost !== 0) partials[kept++] = lost;
      x = sum;
    }
    partials.length = kept;
    partials.push(x);
  }
  return partials.reduce((sum, partial) => sum + partial, 0);
}
