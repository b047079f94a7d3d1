import { hash32, MeshError } from '@millrace/kernel';

/** A share of 1 in buckets: the finest ramp is 0.01 %. */
export const buckets = 10_000;

/** Where a unit stands in an experiment: the same for ever, and independent between experiments and salts. */
export function bucketOf(salt: string, experiment: string, unit: string): number {
  return mixed(hash32(`${salt}|${experiment}|${unit}`)) % buckets;
}

/** Where a unit stands in [0, 1), as `bucketOf` but as finely as 32 bits say. */
export function fractionOf(experiment: string, unit: string): number {
  return mixed(hash32(`${experiment}|${unit}`)) / 2 ** 32;
}

/** Whether the unit is in the canary. Monotone: who is in at one share is in at every larger one. */
export function isCanary(bucket: number, share: number): boolean {
  return bucket < Math.round(share * buckets);
}

/** An experiment's own part of a layer: its units are in no other experiment of the layer. */
export interface LayerPart {
  readonly experiment: string;
  /** From this bucket of the layer, */
  readonly from: number;
  /** to below this one. */
  readonly to: number;
}

/** Parts of a layer in their order, as wide as their shares; INVALID_ARGUMENT when they add up to more than 1. */
export function layerParts(
  experiments: readonly { readonly experiment: string; readonly share: number }[],
): LayerPart[] {
  let from = 0;
  return experiments.map(({ experiment, share }) => {
    const to = from + Math.round(share * buckets);
    if (share < 0 || to > buckets)
      throw new MeshError(
        'INVALID_ARGUMENT',
        `experiment "${experiment}" does not fit into its layer: shares must not be negative and must add up to at most 1`,
        { experiment, share },
      );
    const part = { experiment, from, to };
    from = to;
    return part;
  });
}

/** The experiment of the layer that the unit takes part in. */
export function experimentOf(layer: string, parts: readonly LayerPart[], unit: string): string | undefined {
  const bucket = bucketOf('layer', layer, unit);
  return parts.find(({ from, to }) => bucket >= from && bucket < to)?.experiment;
}

/** Murmur3's finaliser: FNV-1a leaves the low bits of neighbours alike. */
function mixed(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
