import { MeshError } from '@millrace/kernel';
import { type Datatype, elementsOf, fixedKinds, isDatatype, type Tensor, type TensorData } from './tensor.ts';

/** What a caller may name: the datatypes of tensors, and BF16, which is widened to FP32 on arrival (exactly: it is its upper half). */
export type WireDatatype = Datatype | 'BF16';

/** Larger ones are no dimension that a tensor can have. */
const dimensionMax = 2 ** 31 - 1;

/** WRONG_TENSOR_TYPE names the datatypes that there are. */
export function wireDatatype(input: string, given: unknown): WireDatatype {
  if (typeof given === 'string' && (given === 'BF16' || isDatatype(given))) return given;
  throw new MeshError(
    'WRONG_TENSOR_TYPE',
    `input "${input}": "${given}" is not a datatype; datatypes: ${Object.keys(fixedKinds).join(', ')}, BF16, BYTES`,
    { input, given: String(given) },
  );
}

/** WRONG_TENSOR_SHAPE for dimensions below 0, fractions, and those that nothing has. */
export function wireShape(input: string, given: readonly (number | bigint)[]): readonly number[] {
  const shape = given.map(Number);
  const wrong = shape.find((size) => !Number.isInteger(size) || size < 0 || size > dimensionMax);
  if (wrong === undefined && elementsOf(shape) <= Number.MAX_SAFE_INTEGER) return shape;
  throw new MeshError(
    'WRONG_TENSOR_SHAPE',
    `input "${input}" cannot have shape [${given}]; a dimension is a whole number from 0 to ${dimensionMax}`,
    { input, given: `[${given}]` },
  );
}

/** A tensor of little-endian bytes, row-major; BYTES as u32 lengths, each with its UTF-8. WRONG_TENSOR_SHAPE for another number of bytes. */
export function fromRaw(name: string, datatype: WireDatatype, shape: readonly number[], bytes: Buffer): Tensor {
  const elements = elementsOf(shape);
  if (datatype === 'BYTES') return { datatype, shape, data: textsFromRaw(name, elements, shape, bytes) };
  const kind = fixedKinds[datatype === 'BF16' ? 'FP16' : datatype];
  const expected = elements * kind.bytes;
  if (bytes.length !== expected)
    throw new MeshError(
      'WRONG_TENSOR_SHAPE',
      `input "${name}" of shape [${shape}] and ${datatype} takes ${expected} raw bytes and ${bytes.length} were given`,
      { input: name, expected, given: bytes.length },
    );
  // a network's buffers start anywhere: a copy is aligned
  const copy = new ArrayBuffer(bytes.length);
  new Uint8Array(copy).set(bytes);
  const data = kind.view(copy, elements);
  return datatype === 'BF16'
    ? { datatype: 'FP32', shape, data: widened(data as Uint16Array) }
    : { datatype, shape, data };
}

function widened(halves: Uint16Array): Float32Array {
  const bits = Uint32Array.from(halves, (half) => half << 16);
  return new Float32Array(bits.buffer);
}

function textsFromRaw(name: string, elements: number, shape: readonly number[], bytes: Buffer): string[] {
  const texts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 <= bytes.length ? at + 4 + bytes.readUInt32LE(at) : Number.POSITIVE_INFINITY;
    if (end > bytes.length)
      throw new MeshError(
        'WRONG_TENSOR_SHAPE',
        `input "${name}": an element of BYTES runs past the end of its raw bytes`,
        { input: name },
      );
    texts.push(textOf(name, bytes.subarray(at + 4, end)));
    at = end;
  }
  if (texts.length !== elements)
    throw new MeshError(
      'WRONG_TENSOR_SHAPE',
      `input "${name}" has shape [${shape}], which is ${elements} elements, and its raw bytes hold ${texts.length}`,
      { input: name, expected: elements, given: texts.length },
    );
  return texts;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Strings of models are UTF-8: other bytes would come back changed, so they are refused. */
export function textOf(name: string, bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new MeshError(
      'WRONG_TENSOR_TYPE',
      `input "${name}": an element of BYTES is not UTF-8, as strings of models are; send such bytes as UINT8`,
      { input: name },
      { cause },
    );
  }
}

/** Little-endian bytes of a tensor, without a copy where its data is numbers. */
export function toRaw({ datatype, data }: Tensor): Buffer {
  if (datatype === 'BYTES') return textsToRaw(data as readonly string[]);
  const { buffer, byteOffset, byteLength } = data as Exclude<TensorData, readonly string[]>;
  return Buffer.from(buffer, byteOffset, byteLength);
}

function textsToRaw(texts: readonly string[]): Buffer {
  return Buffer.concat(
    texts.flatMap((text) => {
      const bytes = Buffer.from(text);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
}
