/** A seeded source of draws (sfc32): the same seed, the same rollout. */
export interface Random {
  /** In [0, 1). */
  unit(): number;
  normal(): number;
  /** O(mean). */
  poisson(mean: number): number;
  /** O(trials × p) on average. */
  binomial(trials: number, p: number): number;
}

export function createRandom(seed: number): Random {
  let [a, b, c, count] = [0x9e3779b9, seed | 0, (seed / 2 ** 32) | 0, 1];
  const unit = () => {
    const sum = (((a + b) | 0) + count) | 0;
    count = (count + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  for (let warm = 0; warm < 15; warm++) unit();
  const normal = () => Math.sqrt(-2 * Math.log(1 - unit())) * Math.cos(2 * Math.PI * unit());
  return {
    unit,
    normal,
    poisson(mean) {
      // exp(−700) is the last that a double takes
      if (mean > 500) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal()));
      const end = Math.exp(-mean);
      let [draws, product] = [0, unit()];
      while (product > end) {
        draws++;
        product *= unit();
      }
      return draws;
    },
    binomial(trials, p) {
      if (p <= 0) return 0;
      if (p >= 1) return trials;
      // the gaps between hits are geometric
      const scale = Math.log1p(-p);
      let hits = 0;
      for (let at = Math.floor(Math.log(1 - unit()) / scale); at < trials; hits++)
        at += 1 + Math.floor(Math.log(1 - unit()) / scale);
      return hits;
    },
  };
}
