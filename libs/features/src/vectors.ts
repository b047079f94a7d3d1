import type { List, VectorType } from './types.ts';

export const dimensionMax = 4_096;

export function vectorType(dimension: number): VectorType {
  return `VECTOR(${dimension})`;
}

export function isVectorType(type: string): type is VectorType {
  return type.startsWith('VECTOR(');
}

/** Of a type that is no vector 0. */
export function dimensionOf(type: string): number {
  return isVectorType(type) ? Number(type.slice('VECTOR('.length, -1)) : 0;
}

/** Its float32 one after the other, little-endian as everywhere that Node runs. */
export function vectorBytes(vector: List): Uint8Array {
  return new Uint8Array(Float32Array.from(vector, Number).buffer);
}

export function vectorOf(bytes: Uint8Array): List {
  // a copy starts where a float may
  return Array.from(new Float32Array(Uint8Array.from(bytes).buffer));
}
