import { hash } from 'node:crypto';
import { groupOf, rowsBetween, stack, type Tensors } from './batch-tensors.ts';
import type { Tensor, TensorData } from './tensor.ts';

/** These rows, one below the other. */
export function rowsAt(tensors: Tensors, rows: readonly number[]): Tensors {
  return stack(rows.map((row) => rowsBetween(tensors, row, row + 1)));
}

/** The same values in memory of their own. */
export function copied(tensors: Tensors): Tensors {
  return new Map([...tensors].map(([name, tensor]) => [name, { ...tensor, data: tensor.data.slice() }]));
}

/** Bytes of the values; text counts two bytes a character. */
export function bytesOf(tensors: Tensors): number {
  let bytes = 0;
  for (const { data } of tensors.values())
    bytes += ArrayBuffer.isView(data) ? data.byteLength : data.reduce((sum, text) => sum + 2 * text.length + 16, 0);
  return bytes;
}

/** What tells contents apart: the names, shapes and values of the inputs and the outputs that are asked for, bit by bit (SHA-256). */
export function contentKey(inputs: Tensors, outputs: readonly string[], shared = sharedKey(inputs, outputs)): string {
  const parts: Uint8Array[] = [Buffer.from(shared)];
  for (const name of [...inputs.keys()].sort()) {
    const { shape, data } = inputs.get(name) as Tensor;
    parts.push(Buffer.from(`|${shape[0] ?? ''}|`), bytes(data));
  }
  return hash('sha256', Buffer.concat(parts), 'base64');
}

/** The part of the key that all rows of a request have. */
export function sharedKey(inputs: Tensors, outputs: readonly string[]): string {
  return JSON.stringify([groupOf(inputs, []), ...outputs]);
}

function bytes(data: TensorData): Uint8Array {
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.from(JSON.stringify(data));
}
