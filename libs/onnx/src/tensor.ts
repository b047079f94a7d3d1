import type { NamedContent } from './model.ts';
import { damaged, unsupported } from './problems.ts';
import { dataType, elementBytes, tensorField } from './schema.ts';
import {
  delimited,
  fieldsOf,
  numberOf,
  packedVarints,
  textField,
  textOf,
  varintBytes,
  varintField,
  type WireField,
} from './wire.ts';

/** A weight of a model. */
export interface OnnxTensor {
  readonly name: string;
  readonly dataType: number;
  readonly dims: readonly number[];
  readonly fields: readonly WireField[];
}

export function readTensor(content: Uint8Array): OnnxTensor {
  const fields = fieldsOf(content);
  return {
    name: textOf(fields, tensorField.name),
    dataType: numberOf(fields, tensorField.dataType),
    dims: fields
      .filter(({ number }) => number === tensorField.dims)
      .flatMap(({ type, value, content: packed }) => (type === 0 ? [value] : packedVarints(packed))),
    fields,
  };
}

export function elementCount(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

/**
 * Refuses weights whose bytes are not those of their shape, or are in another file. Only what is given as raw bytes is measured;
 * onnxruntime checks the rest.
 */
export function checkTensor(content: Uint8Array): void {
  const { name, dataType: type, dims, fields } = readTensor(content);
  if (
    numberOf(fields, tensorField.dataLocation) === 1 ||
    fields.some(({ number }) => number === tensorField.externalData)
  )
    throw unsupported(
      `keeps its weight "${name}" in another file`,
      'save it as one file (PyTorch: torch.onnx.export(…, external_data=False); onnx: onnx.save_model(onnx.load(path), path))',
    );
  if (dims.some((dim) => dim < 0)) throw damaged(`its weight "${name}" has the shape [${dims.join(', ')}]`);
  const raw = fields.findLast(({ number }) => number === tensorField.rawData)?.content;
  const width = elementBytes[type];
  if (raw && width !== undefined && raw.length !== elementCount(dims) * width)
    throw damaged(
      `its weight "${name}" has ${raw.length} bytes and its shape [${dims.join(', ')}] needs ${elementCount(dims) * width}`,
    );
}

/** The values of a FLOAT tensor. Views the file's bytes where they are aligned. */
export function floatsOf(tensor: OnnxTensor): Float32Array {
  if (tensor.dataType !== dataType.float) throw damaged(`its weight "${tensor.name}" is not of float32`);
  const raw = tensor.fields.findLast(({ number }) => number === tensorField.rawData)?.content;
  const values = raw ? floatsIn(raw) : givenFloats(tensor.fields);
  if (values.length !== elementCount(tensor.dims))
    throw damaged(`its weight "${tensor.name}" has ${values.length} values for the shape [${tensor.dims.join(', ')}]`);
  return values;
}

function givenFloats(fields: readonly WireField[]): Float32Array {
  return floatsIn(
    Buffer.concat(fields.filter(({ number }) => number === tensorField.floatData).map(({ content }) => content)),
  );
}

function floatsIn(bytes: Uint8Array): Float32Array {
  const whole = bytes.byteLength - (bytes.byteLength % 4);
  if (bytes.byteOffset % 4 === 0) return new Float32Array(bytes.buffer, bytes.byteOffset, whole / 4);
  // Buffer.slice would not copy
  return new Float32Array(Uint8Array.from(bytes.subarray(0, whole)).buffer);
}

/** The values of an INT64 tensor: axes and shapes, so few and small. */
export function int64sOf(tensor: OnnxTensor): number[] {
  const raw = tensor.fields.findLast(({ number }) => number === tensorField.rawData)?.content;
  if (!raw)
    return tensor.fields
      .filter(({ number }) => number === tensorField.int64Data)
      .flatMap(({ type, value, content }) => (type === 0 ? [value] : packedVarints(content)));
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  return Array.from({ length: Math.floor(raw.length / 8) }, (_, at) => Number(view.getBigInt64(at * 8, true)));
}

/** As NumPy's arrays become tensors: raw bytes. */
export function rawTensor(name: string, type: number, dims: readonly number[], values: ArrayBufferView): NamedContent {
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return tensorOf(name, type, dims, delimited(tensorField.rawData, raw), true);
}

/** As `onnx.helper.make_tensor` writes floats. */
export function floatTensor(name: string, dims: readonly number[], values: Float32Array): NamedContent {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return tensorOf(name, dataType.float, dims, delimited(tensorField.floatData, bytes), false);
}

/** As `onnx.helper.make_tensor` writes small integers. */
export function int32Tensor(
  name: string,
  type: number,
  dims: readonly number[],
  values: ArrayLike<number>,
): NamedContent {
  const packed = Buffer.concat(Array.from(values, (value) => varintBytes(value)));
  return tensorOf(name, type, dims, delimited(tensorField.int32Data, packed), false);
}

/** As `onnx.helper.make_tensor` writes int64. */
export function int64Tensor(name: string, dims: readonly number[], values: readonly number[]): NamedContent {
  const packed = Buffer.concat(values.map((value) => varintBytes(value)));
  return tensorOf(name, dataType.int64, dims, delimited(tensorField.int64Data, packed), false);
}

function tensorOf(
  name: string,
  type: number,
  dims: readonly number[],
  data: Uint8Array,
  isAfterName: boolean,
): NamedContent {
  const head = [...dims.map((dim) => varintField(tensorField.dims, dim)), varintField(tensorField.dataType, type)];
  const title = textField(tensorField.name, name);
  return { name, content: Buffer.concat(isAfterName ? [...head, title, data] : [...head, data, title]) };
}
