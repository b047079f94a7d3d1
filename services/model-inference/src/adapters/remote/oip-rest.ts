import { z } from 'zod';
import type { Tensors } from '../../domain/batch-tensors.ts';
import { fromJson, toJsonText } from '../../domain/json-data.ts';
import { fromRaw, toRaw, wireDatatype, wireShape } from '../../domain/raw-tensor.ts';
import type { RemotePlace } from '../../domain/remote-uri.ts';
import type { Tensor, TensorSpec } from '../../domain/tensor.ts';
import { type RemoteBackend, type RemoteCall, remoteError, remoteSpec } from './backend.ts';
import { type HttpAnswer, httpCall, jsonOf } from './http-call.ts';

const size = z.union([z.number(), z.bigint()]);
const described = z.object({ name: z.string(), datatype: z.string(), shape: z.array(size) });
const metadata = z.object({
  platform: z.string().default(''),
  versions: z.array(z.string()).nullish(),
  inputs: z.array(described).nullish(),
  outputs: z.array(described).nullish(),
});
const answer = z.object({
  outputs: z.array(
    z.object({
      ...described.shape,
      parameters: z.object({ binary_data_size: z.number().int().nonnegative().optional() }).nullish(),
      data: z.unknown().optional(),
    }),
  ),
});

/** Any server of the Open Inference Protocol over REST; with binary tensors where it says that it takes them, else as JSON. */
export function openOipRest({ server, model, version }: RemotePlace, uri: string): RemoteBackend {
  const at = `${server}/v2/models/${encodeURIComponent(model)}${version === '' ? '' : `/versions/${encodeURIComponent(version)}`}`;
  const ask = (url: string, call: RemoteCall) => httpCall(uri, url, call);
  let isBinary = false;
  return {
    async describe(call) {
      const { body: about } = await ask(`${server}/v2`, call);
      const { extensions } = jsonOf(uri, about) as { readonly extensions?: unknown };
      isBinary = Array.isArray(extensions) && extensions.includes('binary_tensor_data');
      const { platform, versions, inputs, outputs } = parsed(uri, metadata, jsonOf(uri, (await ask(at, call)).body));
      const specs = (tensors: z.infer<typeof described>[] | null | undefined) =>
        (tensors ?? []).map(({ name, datatype, shape }) => remoteSpec(uri, name, datatype, shape));
      return { platform, versions: versions ?? [], inputs: specs(inputs), outputs: specs(outputs) };
    },
    ready: (call) =>
      ask(`${at}/ready`, call).then(
        () => true,
        (error) => {
          if (error.reason === 'INVALID_ARGUMENT' || error.reason === 'SERVICE_UNAVAILABLE') return false;
          throw error;
        },
      ),
    async infer(inputs, outputs, call) {
      const response = await httpCall(
        uri,
        `${at}/infer`,
        call,
        isBinary ? binaryBody(inputs, outputs) : jsonBody(inputs, outputs),
      );
      return decoded(uri, response);
    },
    close: () => undefined,
  };
}

function jsonBody(inputs: Tensors, outputs: readonly TensorSpec[]) {
  const tensors = [...inputs].map(([name, tensor]) => {
    const { datatype, shape } = tensor;
    return `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${shape}],"data":${toJsonText(name, tensor)}}`;
  });
  const body = `{"inputs":[${tensors.join(',')}],"outputs":${JSON.stringify(outputs.map(({ name }) => ({ name })))}}`;
  return { body, headers: { 'content-type': 'application/json' } };
}

function binaryBody(inputs: Tensors, outputs: readonly TensorSpec[]) {
  const raw = [...inputs].map(([, tensor]) => toRaw(tensor));
  const head = Buffer.from(
    JSON.stringify({
      inputs: [...inputs].map(([name, { datatype, shape }], index) => ({
        ...{ name, datatype, shape },
        parameters: { binary_data_size: raw[index]?.length ?? 0 },
      })),
      outputs: outputs.map(({ name }) => ({ name, parameters: { binary_data: true } })),
    }),
  );
  return {
    body: Buffer.concat([head, ...raw]),
    headers: { 'content-type': 'application/octet-stream', 'inference-header-content-length': String(head.length) },
  };
}

function decoded(uri: string, { headers, body }: HttpAnswer): Tensors {
  const jsonLength = Number(headers.get('inference-header-content-length') ?? body.length);
  const { outputs } = parsed(uri, answer, jsonOf(uri, body.subarray(0, jsonLength)));
  let at = jsonLength;
  try {
    return new Map(
      outputs.map(({ name, parameters, data, ...output }): [string, Tensor] => {
        const datatype = wireDatatype(name, output.datatype);
        const shape = wireShape(name, output.shape);
        const bytes = parameters?.binary_data_size;
        if (bytes === undefined) return [name, fromJson(name, datatype, shape, data)];
        at += bytes;
        return [name, fromRaw(name, datatype, shape, body.subarray(at - bytes, at))];
      }),
    );
  } catch (cause) {
    throw remoteError('MODEL_RUN_FAILED', uri, `its answer cannot be read: ${(cause as Error).message}`, cause);
  }
}

function parsed<T>(uri: string, schema: z.ZodType<T>, value: unknown): T {
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  const [problem] = read.error.issues;
  throw remoteError(
    'MODEL_RUN_FAILED',
    uri,
    `its answer is not as the protocol says: ${problem?.path.join('.')}: ${problem?.message}`,
  );
}
