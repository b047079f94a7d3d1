import { MeshError, parseExactJson } from '@millrace/kernel';
import { z } from 'zod';
import { refuseUnsupported } from '../app/serve-infer.ts';
import { fromJson } from '../domain/json-data.ts';
import { fromRaw, wireDatatype, wireShape } from '../domain/raw-tensor.ts';
import { elementsOf, fixedKinds, type Tensor, type TensorSpec } from '../domain/tensor.ts';

const parameters = z.record(z.string(), z.unknown()).optional();
const number = z.union([z.number(), z.bigint()]);

export const inferBody = z.object({
  id: z.string().default(''),
  parameters,
  inputs: z.array(
    z.object({
      name: z.string(),
      shape: z.array(number),
      datatype: z.string(),
      parameters,
      data: z.unknown().optional(),
    }),
  ),
  outputs: z.array(z.object({ name: z.string(), parameters })).optional(),
});

export interface RestInfer {
  readonly id: string;
  readonly parameters: ReadonlyMap<string, unknown>;
  readonly outputs: readonly string[];
  /** Whether an output is answered as binary data. */
  isBinary(output: string): boolean;
  decode(): ReadonlyMap<string, Tensor>;
}

type Body = z.output<typeof inferBody>;

/** A request of POST …/infer; `jsonLength` is its Inference-Header-Content-Length. */
export function parseInfer(
  body: Buffer,
  jsonLength: string | undefined,
  specs: () => readonly TensorSpec[],
): RestInfer {
  if (jsonLength === undefined) return restOf(parseJson(body), Buffer.alloc(0));
  const length = Number(jsonLength);
  if (!/^\d+$/.test(jsonLength) || length > body.length)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `Inference-Header-Content-Length is "${jsonLength}" and the body has ${body.length} bytes`,
      { given: jsonLength, bytes: body.length },
    );
  if (length === 0) return rawOf(body, specs());
  return restOf(parseJson(body.subarray(0, length)), body.subarray(length));
}

function parseJson(bytes: Buffer): Body {
  let value: unknown;
  try {
    value = parseExactJson(bytes.toString('utf8'));
  } catch (cause) {
    throw new MeshError('MALFORMED_PAYLOAD', `the request is not JSON: ${(cause as Error).message}`, {}, { cause });
  }
  const parsed = inferBody.safeParse(value);
  if (parsed.success) return parsed.data;
  const [problem] = parsed.error.issues;
  throw new MeshError('INVALID_ARGUMENT', `request: ${problem?.path.join('.')}: ${problem?.message}`, {
    field: problem?.path.join('.') ?? '',
  });
}

function restOf(body: Body, binary: Buffer): RestInfer {
  const byDefault = body.parameters?.binary_data_output === true;
  const asked = new Map((body.outputs ?? []).map((output) => [output.name, output.parameters?.binary_data]));
  return {
    id: body.id,
    parameters: new Map(Object.entries(body.parameters ?? {})),
    outputs: [...asked.keys()],
    isBinary: (output) => (asked.get(output) ?? byDefault) === true,
    decode: () => decodeInputs(body, binary),
  };
}

function decodeInputs(body: Body, binary: Buffer): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  let at = 0;
  for (const given of [...body.inputs, ...(body.outputs ?? [])])
    refuseUnsupported(new Map(Object.entries(given.parameters ?? {})));
  for (const { name, data, parameters: of, ...input } of body.inputs) {
    if (tensors.has(name))
      throw new MeshError('INVALID_ARGUMENT', `input "${name}" is given twice; give it once`, { input: name });
    const datatype = wireDatatype(name, input.datatype);
    const shape = wireShape(name, input.shape);
    const size = of?.binary_data_size;
    if (size === undefined) {
      tensors.set(name, fromJson(name, datatype, shape, data));
      continue;
    }
    if (data !== undefined)
      throw new MeshError('INVALID_ARGUMENT', `input "${name}" has data and binary_data_size; use one of them`, {
        input: name,
      });
    const end = at + Number(size);
    if (!Number.isInteger(end) || Number(size) < 0 || end > binary.length)
      throw new MeshError(
        'WRONG_TENSOR_SHAPE',
        `input "${name}" has binary_data_size ${size}, and ${binary.length - at} bytes are left of the body`,
        { input: name, given: String(size), left: binary.length - at },
      );
    tensors.set(name, fromRaw(name, datatype, shape, binary.subarray(at, end)));
    at = end;
  }
  if (at !== binary.length)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `the body has ${binary.length - at} bytes more than its inputs take; check binary_data_size`,
      { left: binary.length - at },
    );
  return tensors;
}

/** A body that is one tensor's bytes: its shape is the model's, with one row, and what is left in the one other open dimension. */
function rawOf(body: Buffer, specs: readonly TensorSpec[]): RestInfer {
  const [spec] = specs;
  if (specs.length !== 1 || !spec)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `a raw request needs a model with one input, and this one has ${specs.length}`,
      {
        inputs: specs.length,
      },
    );
  return {
    id: '',
    parameters: new Map(),
    outputs: [],
    isBinary: () => true,
    decode: () => new Map([[spec.name, rawTensor(spec, body)]]),
  };
}

function rawTensor({ name, datatype, shape }: TensorSpec, body: Buffer): Tensor {
  const open = shape.flatMap((size, at) => (size === -1 && at > 0 ? [at] : []));
  if (open.length > 1)
    throw new MeshError('WRONG_TENSOR_SHAPE', `input "${name}" of shape [${shape}] has no one shape for raw bytes`, {
      input: name,
    });
  const oneRow = shape.map((size) => (size === -1 ? 1 : size));
  if (datatype === 'BYTES') {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(body.length);
    return fromRaw(name, datatype, oneRow, Buffer.concat([length, body]));
  }
  const rowBytes = fromRawBytes(datatype, oneRow);
  const filled = open.length === 0 ? oneRow : oneRow.with(open[0] ?? 0, Math.floor(body.length / rowBytes));
  return fromRaw(name, datatype, filled, body);
}

function fromRawBytes(datatype: Exclude<TensorSpec['datatype'], 'BYTES'>, shape: readonly number[]): number {
  return fixedKinds[datatype].bytes * elementsOf(shape);
}
