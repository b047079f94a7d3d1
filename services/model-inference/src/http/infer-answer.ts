import type { InferOutcome } from '../app/infer.ts';
import { toJsonText } from '../domain/json-data.ts';
import { toRaw } from '../domain/raw-tensor.ts';
import type { RestInfer } from './infer-body.ts';

export interface RestAnswer {
  readonly body: Buffer;
  /** The length of the JSON when binary data follows it. */
  readonly jsonLength: number | undefined;
}

/** The JSON of an answer and, behind it, the outputs that were asked for as binary data. */
export function answerOf(
  model: string,
  request: RestInfer,
  { version, outputs, routedTo, parameters }: InferOutcome,
): RestAnswer {
  const binary: Buffer[] = [];
  const texts = [...outputs].map(([name, tensor]) => {
    const head = `{"name":${JSON.stringify(name)},"datatype":"${tensor.datatype}","shape":[${tensor.shape}]`;
    if (!request.isBinary(name)) return `${head},"data":${toJsonText(name, tensor)}}`;
    const bytes = toRaw(tensor);
    binary.push(bytes);
    return `${head},"parameters":{"binary_data_size":${bytes.length}}}`;
  });
  const said = new Map(parameters);
  if (routedTo !== undefined) said.set('model', routedTo);
  const about = {
    ...(request.id === '' ? {} : { id: request.id }),
    model_name: model,
    model_version: version,
    ...(said.size === 0 ? {} : { parameters: Object.fromEntries(said) }),
  };
  const json = Buffer.from(`${JSON.stringify(about).slice(0, -1)},"outputs":[${texts.join(',')}]}`);
  if (binary.length === 0) return { body: json, jsonLength: undefined };
  return { body: Buffer.concat([json, ...binary]), jsonLength: json.length };
}
