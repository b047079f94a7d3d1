import { dataType } from '../schema.ts';

export type WeightType = 'int8' | 'uint8';

export const weightDataType = { int8: dataType.int8, uint8: dataType.uint8 } as const;

/** One scale and zero point: a value is (q − zeroPoint) × scale. */
export interface QuantParams {
  readonly scale: number;
  readonly zeroPoint: number;
}

const floatTiny = 2 ** -126;
/** Adding and taking it away rounds a double below 2^51 to an integer, halves to even. */
const rounder = 1.5 * 2 ** 52;

/**
 * Scale and zero point of values between `min` and `max`, as onnxruntime's `compute_scale_zp`: int8 is symmetric (−127…127, or −64…64 with
 * a reduced range), uint8 takes the whole range. The scale is computed in float64 and kept in float32.
 */
export function quantParams(min: number, max: number, type: WeightType, isReduced: boolean): QuantParams {
  const low = Math.min(min, 0);
  const high = Math.max(max, 0);
  if (type === 'int8') {
    const top = Math.max(-low, high);
    const scale = (top + top) / (isReduced ? 128 : 254);
    return scale < floatTiny ? { scale: 1, zeroPoint: 0 } : { scale: Math.fround(scale), zeroPoint: 0 };
  }
  const scale = (high - low) / (isReduced ? 127 : 255);
  if (scale < floatTiny) return { scale: 1, zeroPoint: 0 };
  return { scale: Math.fround(scale), zeroPoint: -low / scale + rounder - rounder };
}

/** Quantizes each `stride`-th value from `from` on into `to`, at the same places. Division and rounding are those of float32. */
export function quantizeInto(
  to: Int8Array | Uint8Array,
  values: Float32Array,
  { scale, zeroPoint }: QuantParams,
  from: number,
  stride: number,
): void {
  const [low, high] = to instanceof Int8Array ? [-128, 127] : [0, 255];
  for (let at = from; at < values.length; at += stride) {
    const rounded = Math.fround((values[at] ?? 0) / scale) + rounder - rounder + zeroPoint;
    to[at] = Math.min(high, Math.max(low, rounded));
  }
}

/** Smallest and largest of each `stride`-th value from `from` on; 0 and 0 of none. */
export function rangeOf(
  values: Float32Array,
  from: number,
  stride: number,
): { readonly min: number; readonly max: number } {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (let at = from; at < values.length; at += stride) {
    const value = values[at] ?? 0;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return min > max ? { min: 0, max: 0 } : { min, max };
}

export function emptyLike(values: Float32Array, type: WeightType): Int8Array | Uint8Array {
  return type === 'int8' ? new Int8Array(values.length) : new Uint8Array(values.length);
}
