/** Put in place of an empty bin's share, as Evidently does, so that the logarithm is finite. */
const emptyShare = 1e-4;

/** The population stability index, Σ (c − r) ln(c / r) over the shares of bins; `NaN` when either side is empty. */
export function psi(reference: readonly number[], current: readonly number[]): number {
  const [r, c] = [sharesOf(reference), sharesOf(current)];
  if (r.length !== c.length) throw new RangeError(`${r.length} reference bins and ${c.length} current ones`);
  return r.reduce((sum, share, bin) => sum + ((c[bin] ?? 0) - share) * Math.log((c[bin] ?? 0) / share), 0);
}

function sharesOf(counts: readonly number[]): number[] {
  const total = sumOf(counts);
  return counts.map((count) => (total === 0 ? Number.NaN : Math.max(count / total, emptyShare)));
}

/** The Jensen–Shannon distance of two lists of counts, base 2: 0 when their shares are alike, 1 when they have no bin in common. */
export function jensenShannon(reference: readonly number[], current: readonly number[]): number {
  const [n, m] = [sumOf(reference), sumOf(current)];
  const divergence = reference.reduce((sum, count, bin) => {
    const [r, c] = [count / n, (current[bin] ?? 0) / m];
    const middle = (r + c) / 2;
    return sum + (r > 0 ? (r / 2) * Math.log2(r / middle) : 0) + (c > 0 ? (c / 2) * Math.log2(c / middle) : 0);
  }, 0);
  return Math.sqrt(Math.max(0, divergence));
}

/** The largest difference of the distribution functions at the edges of bins: at most the Kolmogorov–Smirnov distance of the values. */
export function ksOfBins(reference: readonly number[], current: readonly number[]): number {
  const [n, m] = [sumOf(reference), sumOf(current)];
  let [below, belowNow, distance] = [0, 0, 0];
  for (const [bin, count] of reference.entries()) {
    below += count / n;
    belowNow += (current[bin] ?? 0) / m;
    distance = Math.max(distance, Math.abs(below - belowNow));
  }
  return distance;
}

function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Beyond this the PSI of two samples of one distribution lies with probability alpha: (1/n + 1/m) χ²(1 − alpha, bins − 1) (Yurdakul 2018). */
export function psiCritical(alpha: number, n: number, m: number, bins: number): number {
  return (1 / n + 1 / m) * chiSquareQuantile(1 - alpha, bins - 1);
}

/** The two-sample Kolmogorov–Smirnov statistic, sup |F − G|. O(n log n). */
export function ksStatistic(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [x, y] = [Float64Array.from(a).sort(), Float64Array.from(b).sort()];
  let [i, j, distance] = [0, 0, 0];
  while (i < x.length && j < y.length) {
    const value = Math.min(x[i] as number, y[j] as number);
    while (i < x.length && (x[i] as number) === value) i++;
    while (j < y.length && (y[j] as number) === value) j++;
    distance = Math.max(distance, Math.abs(i / x.length - j / y.length));
  }
  return distance;
}

/** Beyond this the statistic lies with probability alpha (asymptotic): √(−ln(alpha / 2) / 2 · (n + m) / (n m)). */
export function ksCritical(alpha: number, n: number, m: number): number {
  return Math.sqrt((-Math.log(alpha / 2) / 2) * ((n + m) / (n * m)));
}

/** The value below which a χ² of `degrees` lies with probability `p`; to 1e-10 relative. */
export function chiSquareQuantile(p: number, degrees: number): number {
  let [low, high] = [0, Math.max(1, degrees)];
  while (lowerGamma(degrees / 2, high / 2) < p) high *= 2;
  for (let step = 0; step < 200 && high - low > 1e-12 * high; step++) {
    const middle = (low + high) / 2;
    if (lowerGamma(degrees / 2, middle / 2) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The regularised lower incomplete gamma function P(a, x): its series, or beyond a + 1 the continued fraction of its complement. */
function lowerGamma(a: number, x: number): number {
  if (x <= 0) return 0;
  const scale = Math.exp(a * Math.log(x) - x - logGamma(a));
  if (x < a + 1) {
    let term = 1 / a;
    let sum = term;
    for (let n = a + 1; term > sum * 1e-17; n++) {
      term *= x / n;
      sum += term;
    }
    return scale * sum;
  }
  let b = x + 1 - a;
  let c = 1e300;
  let d = 1 / b;
  let fraction = d;
  for (let i = 1; i < 10_000; i++) {
    const an = -i * (i - a);
    b += 2;
    d = 1 / (an * d + b);
    c = b + an / c;
    const delta = d * c;
    fraction *= delta;
    if (Math.abs(delta - 1) < 1e-16) break;
  }
  return 1 - scale * fraction;
}

const lanczos = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
] as const;

export function logGamma(z: number): number {
  if (z < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * z)) - logGamma(1 - z);
  const x = z - 1;
  const series = lanczos.reduce(
    (sum, coefficient, index) => sum + (index === 0 ? coefficient : coefficient / (x + index)),
    0,
  );
  const t = x + lanczos.length - 1.5;
  return 0.5 * Math.log(2 * Math.PI) + (x + 0.5) * Math.log(t) - t + Math.log(series);
}
