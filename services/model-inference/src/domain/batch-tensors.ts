import { MeshError } from '@millrace/kernel';
import type { Tensor, TensorData } from './tensor.ts';

export type Tensors = ReadonlyMap<string, Tensor>;

/** Requests whose tensors can be put one below the other. */
export function groupOf(inputs: Tensors, outputs: readonly string[]): string {
  const shapes = [...inputs].map(([name, { shape }]) => `${name}:${shape.slice(1)}`);
  return `${shapes.sort().join(';')}>${outputs.join(';')}`;
}

/** Rows of a request: the first dimension, when every input has the same. */
export function rowsOf(inputs: Tensors): number | undefined {
  let rows: number | undefined;
  for (const { shape } of inputs.values()) {
    if (shape[0] === undefined || (rows !== undefined && rows !== shape[0])) return undefined;
    rows = shape[0];
  }
  return rows;
}

/** The inputs of several requests of one group, one below the other, in their order. */
export function stack(requests: readonly Tensors[]): Tensors {
  const first = requests[0] ?? new Map<string, Tensor>();
  return new Map(
    [...first].map(([name, { datatype, shape }]) => {
      const parts = requests.map((inputs) => inputs.get(name) as Tensor);
      const rows = parts.reduce((sum, part) => sum + (part.shape[0] ?? 0), 0);
      return [name, { datatype, shape: [rows, ...shape.slice(1)], data: concatenate(parts.map(({ data }) => data)) }];
    }),
  );
}

/** The rows of each request, views of what the model gave. MODEL_RUN_FAILED when an output has no row for each. */
export function unstack(model: string, outputs: Tensors, rowsByRequest: readonly number[]): Tensors[] {
  const total = rowsByRequest.reduce((sum, rows) => sum + rows, 0);
  for (const [name, { shape }] of outputs) {
    if (shape[0] !== total)
      throw new MeshError(
        'MODEL_RUN_FAILED',
        `output "${name}" of model "${model}" has shape [${shape}] for ${total} rows; such a model cannot be batched`,
        { model, output: name, rows: total },
      );
  }
  let from = 0;
  return rowsByRequest.map((rows) => {
    from += rows;
    return rowsBetween(outputs, from - rows, from);
  });
}

/** Rows `from` to `to` of every tensor; views of them. */
export function rowsBetween(tensors: Tensors, from: number, to: number): Tensors {
  return new Map(
    [...tensors].map(([name, { datatype, shape, data }]) => {
      const width = shape.slice(1).reduce((product, size) => product * size, 1);
      return [name, { datatype, shape: [to - from, ...shape.slice(1)], data: slice(data, from * width, to * width) }];
    }),
  );
}

type Numbers = Exclude<TensorData, readonly string[]>;

function isNumbers(data: TensorData): data is Numbers {
  return ArrayBuffer.isView(data);
}

function slice(data: TensorData, from: number, to: number): TensorData {
  return isNumbers(data) ? data.subarray(from, to) : data.slice(from, to);
}

function concatenate(parts: readonly TensorData[]): TensorData {
  const first = parts[0];
  if (first === undefined || !isNumbers(first)) return parts.flatMap((part) => part as readonly string[]);
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const whole = new (first.constructor as new (length: number) => Float32Array)(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part as Float32Array, at);
    at += part.length;
  }
  return whole;
}
