import type { oip } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { type Datatype, elementsOf, fixedKinds, isDatatype, type Tensor, type TensorData } from '../domain/tensor.ts';

/** The inputs of a request, from typed or raw contents (never both). INVALID_ARGUMENT names the tensor and what is wrong. */
export function decodeInputs(request: oip.ModelInferRequest): Map<string, Tensor> {
  const raw = request.rawInputContents;
  if (raw.length > 0 && raw.length !== request.inputs.length) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `raw_input_contents has ${raw.length} entries for ${request.inputs.length} inputs; give one for each, in their order`,
      { entries: raw.length, inputs: request.inputs.length },
    );
  }
  const tensors = new Map<string, Tensor>();
  for (const [index, input] of request.inputs.entries()) {
    if (tensors.has(input.name))
      throw new MeshError('INVALID_ARGUMENT', `input "${input.name}" is given twice; give it once`, {
        input: input.name,
      });
    tensors.set(input.name, decodeInput(input, raw[index]));
  }
  return tensors;
}

function decodeInput(input: oip.ModelInferRequest_InferInputTensor, bytes: Buffer | undefined): Tensor {
  const { name, datatype, contents } = input;
  if (!isDatatype(datatype))
    throw new MeshError(
      'WRONG_TENSOR_TYPE',
      `input "${name}": "${datatype}" is not a datatype; datatypes: ${Object.keys(fixedKinds).join(', ')}, BYTES`,
      { input: name, given: datatype },
    );
  if (bytes && contents)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `input "${name}" has contents although raw_input_contents is used; use one of them`,
      { input: name },
    );
  const shape = input.shape.map(Number);
  const data = bytes ? fromRaw(name, datatype, shape, bytes) : fromContents(name, datatype, contents);
  return { datatype, shape, data };
}

function fromRaw(name: string, datatype: Datatype, shape: readonly number[], bytes: Buffer): TensorData {
  if (datatype === 'BYTES') return textsFromRaw(name, bytes);
  const kind = fixedKinds[datatype];
  const expected = elementsOf(shape) * kind.bytes;
  if (bytes.length !== expected)
    throw new MeshError(
      'WRONG_TENSOR_SHAPE',
      `input "${name}" of shape [${shape}] and ${datatype} takes ${expected} raw bytes and ${bytes.length} were given`,
      { input: name, expected, given: bytes.length },
    );
  // gRPC's buffers start anywhere: a copy is aligned
  const copy = new ArrayBuffer(bytes.length);
  new Uint8Array(copy).set(bytes);
  return kind.view(copy, elementsOf(shape));
}

/** Each element: u32 little-endian length and its bytes. */
function textsFromRaw(name: string, bytes: Buffer): string[] {
  const texts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 <= bytes.length ? at + 4 + bytes.readUInt32LE(at) : Number.POSITIVE_INFINITY;
    if (end > bytes.length)
      throw new MeshError(
        'WRONG_TENSOR_SHAPE',
        `input "${name}": an element of BYTES runs past the end of its raw bytes`,
        { input: name },
      );
    texts.push(bytes.toString('utf8', at + 4, end));
    at = end;
  }
  return texts;
}

function fromContents(name: string, datatype: Datatype, contents: oip.InferTensorContents | undefined): TensorData {
  if (!contents)
    throw new MeshError('MISSING_MODEL_INPUT', `input "${name}" has neither contents nor raw bytes`, { input: name });
  switch (datatype) {
    case 'BOOL':
      return Uint8Array.from(contents.boolContents, Number);
    case 'INT8':
      return Int8Array.from(contents.intContents);
    case 'INT16':
      return Int16Array.from(contents.intContents);
    case 'INT32':
      return Int32Array.from(contents.intContents);
    case 'INT64':
      return BigInt64Array.from(contents.int64Contents);
    case 'UINT8':
      return Uint8Array.from(contents.uintContents);
    case 'UINT16':
      return Uint16Array.from(contents.uintContents);
    case 'UINT32':
      return Uint32Array.from(contents.uintContents);
    case 'UINT64':
      return BigUint64Array.from(contents.uint64Contents);
    case 'FP32':
      return Float32Array.from(contents.fp32Contents);
    case 'FP64':
      return Float64Array.from(contents.fp64Contents);
    case 'BYTES':
      return contents.bytesContents.map((bytes) => bytes.toString('utf8'));
    case 'FP16':
      throw new MeshError('WRONG_TENSOR_TYPE', `input "${name}": FP16 can only be sent raw`, { input: name });
    default:
      return datatype satisfies never;
  }
}

export function toRaw({ datatype, data }: Tensor): Buffer {
  if (datatype === 'BYTES') {
    return Buffer.concat(
      (data as readonly string[]).map((text) => {
        const bytes = Buffer.from(text);
        const length = Buffer.alloc(4);
        length.writeUInt32LE(bytes.length);
        return Buffer.concat([length, bytes]);
      }),
    );
  }
  const { buffer, byteOffset, byteLength } = data as Uint8Array;
  return Buffer.from(buffer, byteOffset, byteLength);
}

export function toContents({ datatype, data }: Tensor): oip.InferTensorContents {
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
  const numbers = () => Array.from(data as Float32Array, Number);
  switch (datatype) {
    case 'BOOL':
      return { ...empty, boolContents: numbers().map(Boolean) };
    case 'INT8':
    case 'INT16':
    case 'INT32':
      return { ...empty, intContents: numbers() };
    case 'UINT8':
    case 'UINT16':
    case 'UINT32':
      return { ...empty, uintContents: numbers() };
    case 'INT64':
      return { ...empty, int64Contents: [...(data as BigInt64Array)] };
    case 'UINT64':
      return { ...empty, uint64Contents: [...(data as BigUint64Array)] };
    case 'FP32':
      return { ...empty, fp32Contents: numbers() };
    case 'FP64':
      return { ...empty, fp64Contents: numbers() };
    case 'BYTES':
      return { ...empty, bytesContents: (data as readonly string[]).map((text) => Buffer.from(text)) };
    case 'FP16':
      throw new MeshError('WRONG_TENSOR_TYPE', 'FP16 outputs can only be sent raw; send a raw request', {});
    default:
      return datatype satisfies never;
  }
}
