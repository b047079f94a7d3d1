import type { oip } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { fromRaw, textOf, type WireDatatype, wireDatatype, wireShape } from '../domain/raw-tensor.ts';
import { elementsOf, type Tensor, type TensorData } from '../domain/tensor.ts';

/** The inputs of a request, from typed or raw contents (never both). INVALID_ARGUMENT names the tensor and what is wrong. */
export function decodeInputs(request: oip.ModelInferRequest): Map<string, Tensor> {
  return decodeTensors(request.inputs, request.rawInputContents);
}

/** Tensors of a request, or of an answer, which are written alike. */
export function decodeTensors(
  inputs: readonly oip.ModelInferRequest_InferInputTensor[],
  raw: readonly Buffer[],
): Map<string, Tensor> {
  if (raw.length > 0 && raw.length !== inputs.length) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `raw_input_contents has ${raw.length} entries for ${inputs.length} inputs; give one for each, in their order`,
      { entries: raw.length, inputs: inputs.length },
    );
  }
  const tensors = new Map<string, Tensor>();
  for (const [index, input] of inputs.entries()) {
    if (tensors.has(input.name))
      throw new MeshError('INVALID_ARGUMENT', `input "${input.name}" is given twice; give it once`, {
        input: input.name,
      });
    tensors.set(input.name, decodeInput(input, raw[index]));
  }
  return tensors;
}

function decodeInput(input: oip.ModelInferRequest_InferInputTensor, bytes: Buffer | undefined): Tensor {
  const { name, contents } = input;
  const datatype = wireDatatype(name, input.datatype);
  if (bytes && contents)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `input "${name}" has contents although raw_input_contents is used; use one of them`,
      { input: name },
    );
  const shape = wireShape(name, input.shape);
  if (bytes) return fromRaw(name, datatype, shape, bytes);
  if (!contents)
    throw new MeshError('MISSING_MODEL_INPUT', `input "${name}" has neither contents nor raw bytes`, { input: name });
  return fromContents(name, datatype, shape, contents);
}

type ContentsField = keyof oip.InferTensorContents;

/** Where the elements of a datatype stand in typed contents; FP16 and BF16 have no place there. */
const fieldOf: Readonly<Record<Exclude<WireDatatype, 'FP16' | 'BF16'>, ContentsField>> = {
  BOOL: 'boolContents',
  INT8: 'intContents',
  INT16: 'intContents',
  INT32: 'intContents',
  INT64: 'int64Contents',
  UINT8: 'uintContents',
  UINT16: 'uintContents',
  UINT32: 'uintContents',
  UINT64: 'uint64Contents',
  FP32: 'fp32Contents',
  FP64: 'fp64Contents',
  BYTES: 'bytesContents',
};

const wireNames: Readonly<Record<ContentsField, string>> = {
  boolContents: 'bool_contents',
  intContents: 'int_contents',
  int64Contents: 'int64_contents',
  uintContents: 'uint_contents',
  uint64Contents: 'uint64_contents',
  fp32Contents: 'fp32_contents',
  fp64Contents: 'fp64_contents',
  bytesContents: 'bytes_contents',
};

function fromContents(
  name: string,
  datatype: WireDatatype,
  shape: readonly number[],
  contents: oip.InferTensorContents,
): Tensor {
  if (datatype === 'FP16' || datatype === 'BF16')
    throw new MeshError('WRONG_TENSOR_TYPE', `input "${name}": ${datatype} can only be sent raw`, { input: name });
  const field = fieldOf[datatype];
  const given = contents[field].length;
  const elements = elementsOf(shape);
  if (given !== elements)
    throw new MeshError(
      'WRONG_TENSOR_SHAPE',
      `input "${name}" has shape [${shape}], which is ${elements} elements, and ${given} were given in ${wireNames[field]}, the field of ${datatype}`,
      { input: name, expected: elements, given },
    );
  return { datatype, shape, data: dataOf(name, datatype, contents) };
}

function dataOf(
  name: string,
  datatype: Exclude<WireDatatype, 'FP16' | 'BF16'>,
  contents: oip.InferTensorContents,
): TensorData {
  switch (datatype) {
    case 'BOOL':
      return Uint8Array.from(contents.boolContents, Number);
    case 'INT8':
      return inRange(name, datatype, contents.intContents, Int8Array.from(contents.intContents));
    case 'INT16':
      return inRange(name, datatype, contents.intContents, Int16Array.from(contents.intContents));
    case 'INT32':
      return Int32Array.from(contents.intContents);
    case 'INT64':
      return BigInt64Array.from(contents.int64Contents);
    case 'UINT8':
      return inRange(name, datatype, contents.uintContents, Uint8Array.from(contents.uintContents));
    case 'UINT16':
      return inRange(name, datatype, contents.uintContents, Uint16Array.from(contents.uintContents));
    case 'UINT32':
      return Uint32Array.from(contents.uintContents);
    case 'UINT64':
      return BigUint64Array.from(contents.uint64Contents);
    case 'FP32':
      return Float32Array.from(contents.fp32Contents);
    case 'FP64':
      return Float64Array.from(contents.fp64Contents);
    case 'BYTES':
      return contents.bytesContents.map((bytes) => textOf(name, bytes));
    default:
      return datatype satisfies never;
  }
}

/** The wire's integers are wider than the tensor's: one that does not fit would silently be another. */
function inRange<T extends Int8Array | Int16Array | Uint8Array | Uint16Array>(
  name: string,
  datatype: string,
  given: readonly number[],
  narrowed: T,
): T {
  const at = given.findIndex((value, index) => value !== narrowed[index]);
  if (at === -1) return narrowed;
  throw new MeshError('OUT_OF_RANGE', `input "${name}": ${given[at]} (element ${at}) is not a value of ${datatype}`, {
    input: name,
    given: given[at] ?? '',
  });
}

export function toContents(name: string, { datatype, data }: Tensor): oip.InferTensorContents {
  const empty: oip.InferTensorContents = {
    boolContents: [],
    intContents: [],
    int64Contents: [],
    uintContents: [],
    uint64Contents: [],
    fp32Contents: [],
    fp64Contents: [],
    bytesContents: [],
  };
  switch (datatype) {
    case 'FP16':
      throw new MeshError(
        'WRONG_TENSOR_TYPE',
        `output "${name}" is FP16, which can only be sent raw; send the inputs raw`,
        { output: name },
      );
    case 'BOOL':
      return { ...empty, boolContents: Array.from(data as Uint8Array, Boolean) };
    case 'BYTES':
      return { ...empty, bytesContents: (data as readonly string[]).map((text) => Buffer.from(text)) };
    default:
      return { ...empty, [fieldOf[datatype]]: Array.from(data as Float32Array) };
  }
}
