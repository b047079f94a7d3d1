/** Distinct values are counted one by one, by their hashes, up to this many; beyond it by HyperLogLog. */
export const exactMax = 1024;
const precision = 12;
export const registers = 2 ** precision;
export const restBits = 53 - precision;
export const rest = 2 ** restBits;
/** α∞ of Ertl's estimator. */
export const alpha = 1 / (2 * Math.LN2);
/** After so many squarings of what is at most (1 − 1/4096)^1024 nothing is left. */
export const squarings = 13;

/** 2^−rank. */
const powers = Float64Array.from({ length: 64 }, (_, rank) => 2 ** -rank);
/** 2^(k − 1). */
const doublings = Float64Array.from({ length: squarings }, (_, k) => 2 ** (k - 1));

/** The upper 12 bits choose the register. */
export function registerOf(hash: number): number {
  return Math.floor(hash / rest);
}

/** The rank is where the lowest bit of the rest is. */
export function rankOf(hash: number, register: number): number {
  return lowestBit(hash - register * rest);
}

/** 1 for an odd number; at most 41. */
function lowestBit(bits: number): number {
  const low = bits >>> 0;
  if (low !== 0) return 32 - Math.clz32(low & -low);
  const high = Math.floor(bits / 2 ** 32) | (2 ** (restBits - 1 - 32));
  return 64 - Math.clz32(high & -high);
}

/**
 * From the number of registers of each rank. Ertl (2017), "New cardinality estimation algorithms for HyperLogLog sketches", without his
 * correction for full registers (2⁵³ values). The sum of 2^−rank is exact in a double, so registers may be counted by rank first: a hundredth
 * of the time of 4,096 powers.
 */
export function estimateOf(registersOfRank: Int32Array): number {
  let sum = 0;
  for (let rank = 1; rank < registersOfRank.length; rank++)
    sum += (registersOfRank[rank] as number) * (powers[rank] as number);
  let power = (registersOfRank[0] as number) / registers;
  let sigma = power;
  for (let k = 1; k < squarings; k++) {
    power *= power;
    sigma += power * (doublings[k] as number);
  }
  return Math.round((alpha * registers * registers) / (registers * sigma + sum));
}
