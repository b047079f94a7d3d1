import { z } from 'zod';
import type { Tensors } from '../../domain/batch-tensors.ts';
import { fromJson } from '../../domain/json-data.ts';
import type { RemotePlace } from '../../domain/remote-uri.ts';
import type { Datatype, Tensor, TensorSpec } from '../../domain/tensor.ts';
import { type RemoteBackend, remoteError } from './backend.ts';
import { httpCall, jsonOf } from './http-call.ts';

/** tensorflow/core/framework/types.proto; halves and quantized types are not carried as JSON. */
const datatypes: Readonly<Record<string, Datatype>> = {
  DT_BOOL: 'BOOL',
  DT_INT8: 'INT8',
  DT_INT16: 'INT16',
  DT_INT32: 'INT32',
  DT_INT64: 'INT64',
  DT_UINT8: 'UINT8',
  DT_UINT16: 'UINT16',
  DT_UINT32: 'UINT32',
  DT_UINT64: 'UINT64',
  DT_FLOAT: 'FP32',
  DT_DOUBLE: 'FP64',
  DT_STRING: 'BYTES',
};

const tensors = z.record(
  z.string(),
  z.object({
    dtype: z.string(),
    tensor_shape: z.object({
      dim: z.array(z.object({ size: z.union([z.string(), z.number()]) })).default([]),
      unknown_rank: z.boolean().default(false),
    }),
  }),
);
const metadata = z.object({
  model_spec: z.object({ version: z.string().default('') }),
  metadata: z.object({
    signature_def: z.object({
      signature_def: z.record(z.string(), z.object({ inputs: tensors.default({}), outputs: tensors.default({}) })),
    }),
  }),
});
const status = z.object({ model_version_status: z.array(z.object({ state: z.string() })) });

/** TensorFlow Serving's REST API (tensorflow.org/tfx/serving/api_rest): its columnar format, a signature of the model. */
export function openTfServing(
  { server, model, version }: RemotePlace,
  uri: string,
  signatureName: string,
): RemoteBackend {
  const at = `${server}/v1/models/${encodeURIComponent(model)}${version === '' ? '' : `/versions/${encodeURIComponent(version)}`}`;
  const signature = signatureName || 'serving_default';
  return {
    async describe(call) {
      const about = metadata.safeParse(jsonOf(uri, (await httpCall(uri, `${at}/metadata`, call)).body));
      if (!about.success)
        throw remoteError('MODEL_RUN_FAILED', uri, 'its metadata are not those of TensorFlow Serving');
      const signatures = about.data.metadata.signature_def.signature_def;
      const found = signatures[signature];
      if (!found)
        throw remoteError(
          'MODEL_RUN_FAILED',
          uri,
          `it has no signature "${signature}"; signatures: ${Object.keys(signatures).join(', ')}`,
        );
      return {
        platform: 'tensorflow_serving',
        versions: [about.data.model_spec.version],
        inputs: specsOf(uri, found.inputs),
        outputs: specsOf(uri, found.outputs),
      };
    },
    async ready(call) {
      const told = status.safeParse(jsonOf(uri, (await httpCall(uri, at, call)).body));
      return told.success && told.data.model_version_status.some(({ state }) => state === 'AVAILABLE');
    },
    async infer(inputs, outputs, call) {
      const columns = [...inputs].map(([name, tensor]) => `${JSON.stringify(name)}:${nestedText(tensor)}`);
      const body = `{"signature_name":${JSON.stringify(signature)},"inputs":{${columns.join(',')}}}`;
      const headers = { 'content-type': 'application/json' };
      const answer = await httpCall(uri, `${at}:predict`, call, { body, headers });
      return decoded(uri, jsonOf(uri, Buffer.from(withoutBareNumbers(answer.body.toString('utf8')))), outputs);
    },
    close: () => undefined,
  };
}

function specsOf(uri: string, given: z.infer<typeof tensors>): TensorSpec[] {
  return Object.entries(given).map(([name, { dtype, tensor_shape: shape }]) => {
    const datatype = datatypes[dtype];
    if (datatype === undefined || shape.unknown_rank)
      throw remoteError(
        'MODEL_RUN_FAILED',
        uri,
        `its tensor "${name}" is ${dtype}${shape.unknown_rank ? ' of unknown rank' : ''}, which is not carried as JSON`,
      );
    return { name, datatype, shape: shape.dim.map(({ size }) => (Number(size) < 0 ? -1 : Number(size))) };
  });
}

/** One output comes by itself, several by their names. */
function decoded(uri: string, answer: unknown, wanted: readonly TensorSpec[]): Tensors {
  const { outputs } = (answer ?? {}) as { readonly outputs?: unknown };
  if (outputs === undefined) throw remoteError('MODEL_RUN_FAILED', uri, 'its answer has no outputs');
  const isNamed = typeof outputs === 'object' && outputs !== null && !Array.isArray(outputs) && !('b64' in outputs);
  try {
    return new Map(
      wanted.map(({ name, datatype }): [string, Tensor] => {
        const data = isNamed ? (outputs as Readonly<Record<string, unknown>>)[name] : outputs;
        const values = Array.isArray(data) ? data : [data];
        const flat = values.flat(Number.POSITIVE_INFINITY).map(plain);
        return [name, fromJson(name, datatype, Array.isArray(data) ? shapeOf(data) : [], flat)];
      }),
    );
  } catch (cause) {
    throw remoteError('MODEL_RUN_FAILED', uri, `its answer cannot be read: ${(cause as Error).message}`, cause);
  }
}

function shapeOf(data: unknown): number[] {
  return Array.isArray(data) ? [data.length, ...shapeOf(data[0])] : [];
}

/** Strings that may be no text come as `{"b64": …}`. */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('b64' in value)) return value;
  return Buffer.from(String(value.b64), 'base64').toString('utf8');
}

function nestedText({ shape, data }: Tensor): string {
  const texts = Array.from(data as ArrayLike<unknown>, valueText);
  return (
    shape.reduceRight<readonly string[]>((parts, size) => {
      const rows = size === 0 ? 0 : parts.length / size;
      return Array.from({ length: rows }, (_, row) => `[${parts.slice(row * size, (row + 1) * size).join(',')}]`);
    }, texts)[0] ?? '[]'
  );
}

/** NaN and infinities are bare words, as TensorFlow Serving takes them. */
function valueText(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  return Object.is(value, -0) ? '-0.0' : String(value);
}

/** NaN and infinities, which it writes bare, as null and ±1e999. */
function withoutBareNumbers(text: string): string {
  if (!/NaN|Infinity/.test(text)) return text;
  return text.replace(/"(?:[^"\\]|\\.)*"|NaN|Infinity/g, (found) =>
    found === 'NaN' ? 'null' : found === 'Infinity' ? '1e999' : found,
  );
}
