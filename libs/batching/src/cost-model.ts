/** How long a batch takes, learned from batches that ran: fixedMs + rowMs × rows. */
export interface CostModel {
  /** Expected milliseconds of a batch of so many rows. */
  ofMs(rows: number): number;
  observe(rows: number, tookMs: number): void;
  current(): { readonly fixedMs: number; readonly rowMs: number };
}

/** What a batch weighs after the next one: about fifty batches are remembered. */
const decay = 0.98;
/** A measurement counts for at most so many times what was expected: a pause of the machine is no property of the model. */
const surpriseMax = 8;

/** Least squares with exponential forgetting, never below zero. The start is what a measurement at load says, or nothing. */
export function createCostModel(start: { readonly fixedMs: number; readonly rowMs: number }): CostModel {
  let { fixedMs, rowMs } = start;
  // two points of the starting line, so that it is left only as fast as batches say otherwise
  let [weight, rowsSum, rowsSquared, tookSum, product] = [0, 0, 0, 0, 0];
  const add = (rows: number, tookMs: number) => {
    weight = weight * decay + 1;
    rowsSum = rowsSum * decay + rows;
    rowsSquared = rowsSquared * decay + rows * rows;
    tookSum = tookSum * decay + tookMs;
    product = product * decay + rows * tookMs;
  };
  if (fixedMs > 0 || rowMs > 0) for (const rows of [1, 32]) add(rows, fixedMs + rowMs * rows);

  function fit(): void {
    const spread = rowsSquared / weight - (rowsSum / weight) ** 2;
    const [meanRows, meanMs] = [rowsSum / weight, tookSum / weight];
    // batches of one size say nothing of the slope: it stays, and the line moves up or down
    if (spread > 1e-6 * meanRows * meanRows) rowMs = (product / weight - meanRows * meanMs) / spread;
    rowMs = Math.min(Math.max(0, rowMs), meanMs / meanRows);
    fixedMs = Math.max(0, meanMs - rowMs * meanRows);
  }

  return {
    ofMs: (rows) => fixedMs + rowMs * rows,
    observe(rows, tookMs) {
      const expected = fixedMs + rowMs * rows;
      add(rows, weight > 0 && expected > 0 ? Math.min(tookMs, surpriseMax * expected) : tookMs);
      fit();
    },
    current: () => ({ fixedMs, rowMs }),
  };
}
