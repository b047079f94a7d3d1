/** `alpha` by weight; the parts add up to it, so that all tests together keep it whatever their dependence. */
export function splitAlpha(alpha: number, weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => (alpha * weight) / total);
}

/**
 * Which hypotheses Holm's procedure rejects, with weights (Holm 1979, §3): in the order of p / weight, each against alpha × weight / weights
 * left. With always-valid p-values the rejections keep alpha at any time of looking.
 */
export function holm(pValues: readonly number[], alpha: number, weights = pValues.map(() => 1)): boolean[] {
  const order = pValues
    .map((p, index) => ({ p, index, weight: weights[index] ?? 0 }))
    .sort((a, b) => a.p / a.weight - b.p / b.weight);
  const rejected = new Array<boolean>(pValues.length).fill(false);
  let left = weights.reduce((sum, weight) => sum + weight, 0);
  for (const { p, index, weight } of order) {
    if (p > (alpha * weight) / left) break;
    rejected[index] = true;
    left -= weight;
  }
  return rejected;
}
