/**
 * The natural logarithm of the standard normal distribution function; absolute error below 1e-12 above −5 (Φ's Taylor series), and
 * Laplace's continued fraction of the tail below it.
 */
export function logNormalCdf(z: number): number {
  if (z < -5) {
    let fraction = -z;
    for (let k = 60; k >= 1; k--) fraction = -z + k / fraction;
    return (-z * z) / 2 - 0.5 * Math.log(2 * Math.PI) - Math.log(fraction);
  }
  if (z > 8) return 0;
  // Φ(z) = ½ + φ(z) (z + z³/3 + z⁵/15 + …)
  let [term, sum] = [z, z];
  for (let n = 3; Math.abs(term) > 1e-17 * Math.abs(sum); n += 2) {
    term *= (z * z) / n;
    sum += term;
  }
  return Math.log(0.5 + (sum * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI));
}
