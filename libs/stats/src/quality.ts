/**
 * The area under the ROC curve: the chance that a random positive scores above a random negative, ties counting half
 * (Mann–Whitney U / (P × N)). NaN until both classes are there. O(n log n).
 */
export function auc(scores: ArrayLike<number>, labels: ArrayLike<number | boolean>): number {
  const order = Uint32Array.from({ length: scores.length }, (_, index) => index).sort(
    (a, b) => (scores[a] ?? 0) - (scores[b] ?? 0),
  );
  let positives = 0;
  let rankSum = 0;
  for (let from = 0; from < order.length; ) {
    const score = scores[order[from] ?? 0];
    let to = from;
    let tiedPositives = 0;
    while (to < order.length && scores[order[to] ?? 0] === score) {
      if (labels[order[to] ?? 0]) tiedPositives++;
      to++;
    }
    positives += tiedPositives;
    // ranks from + 1 … to share their mean
    rankSum += tiedPositives * ((from + 1 + to) / 2);
    from = to;
  }
  const negatives = order.length - positives;
  if (positives === 0 || negatives === 0) return Number.NaN;
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives);
}

const smallest = Number.EPSILON;

/** The mean of −ln(probability given to what happened), in nats; probabilities are clipped to [2⁻⁵², 1 − 2⁻⁵²] as scikit-learn does. */
export function logLoss(scores: ArrayLike<number>, labels: ArrayLike<number | boolean>): number {
  let sum = 0;
  for (let index = 0; index < scores.length; index++) {
    const score = Math.min(1 - smallest, Math.max(smallest, scores[index] ?? 0));
    sum -= labels[index] ? Math.log(score) : Math.log1p(-score);
  }
  return scores.length === 0 ? Number.NaN : sum / scores.length;
}
