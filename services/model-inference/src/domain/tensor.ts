/** A tensor's element type, in the words of the Open Inference Protocol. */
export type Datatype =
  | 'BOOL'
  | 'UINT8'
  | 'UINT16'
  | 'UINT32'
  | 'UINT64'
  | 'INT8'
  | 'INT16'
  | 'INT32'
  | 'INT64'
  | 'FP16'
  | 'FP32'
  | 'FP64'
  | 'BYTES';

export type TensorData =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float32Array
  | Float64Array
  | readonly string[];

export interface Tensor {
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** What a model takes or gives; −1 for a dimension of any size. */
export interface TensorSpec {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
}

interface Kind {
  readonly bytes: number;
  /** Of `count` elements in bytes that start at an aligned place. */
  view(buffer: ArrayBuffer, count: number): Exclude<TensorData, readonly string[]>;
}

/** Fixed-size datatypes; BYTES is the only other. */
export const fixedKinds: Readonly<Record<Exclude<Datatype, 'BYTES'>, Kind>> = {
  BOOL: { bytes: 1, view: (buffer, count) => new Uint8Array(buffer, 0, count) },
  UINT8: { bytes: 1, view: (buffer, count) => new Uint8Array(buffer, 0, count) },
  INT8: { bytes: 1, view: (buffer, count) => new Int8Array(buffer, 0, count) },
  UINT16: { bytes: 2, view: (buffer, count) => new Uint16Array(buffer, 0, count) },
  INT16: { bytes: 2, view: (buffer, count) => new Int16Array(buffer, 0, count) },
  FP16: { bytes: 2, view: (buffer, count) => new Uint16Array(buffer, 0, count) },
  UINT32: { bytes: 4, view: (buffer, count) => new Uint32Array(buffer, 0, count) },
  INT32: { bytes: 4, view: (buffer, count) => new Int32Array(buffer, 0, count) },
  FP32: { bytes: 4, view: (buffer, count) => new Float32Array(buffer, 0, count) },
  UINT64: { bytes: 8, view: (buffer, count) => new BigUint64Array(buffer, 0, count) },
  INT64: { bytes: 8, view: (buffer, count) => new BigInt64Array(buffer, 0, count) },
  FP64: { bytes: 8, view: (buffer, count) => new Float64Array(buffer, 0, count) },
};

export function isDatatype(text: string): text is Datatype {
  return text === 'BYTES' || Object.hasOwn(fixedKinds, text);
}

export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
