import type { oip } from '@millrace/contracts';
import type { CallContext } from '@millrace/rpc';
import type { InferOutcome } from '../app/infer.ts';
import { type InferCall, refuseUnsupported } from '../app/serve-infer.ts';
import { toRaw } from '../domain/raw-tensor.ts';
import { priorityOf, timeoutMsOf } from '../domain/schedule-policy.ts';
import { decodeInputs, toContents } from './oip-tensors.ts';

/** Of a stream no request has the deadline: that is the stream's own. */
export function callOf(
  request: oip.ModelInferRequest,
  context: Pick<CallContext, 'deadlineMs' | 'signal' | 'metadata'>,
): InferCall {
  return {
    protocol: 'grpc',
    model: request.modelName,
    version: request.modelVersion,
    unit: { parameter: unitOf(request), headers: () => context.metadata, id: request.id },
    outputs: request.outputs.map(({ name }) => name),
    parameters: valuesOf(request.parameters),
    options: {
      deadlineMs: context.deadlineMs,
      signal: context.signal,
      ...scheduleOf(request),
      ownsInputs: true,
    },
    decode() {
      for (const { parameters } of [...request.inputs, ...request.outputs]) refuseUnsupported(parameters);
      return decodeInputs(request);
    },
  };
}

/** Whom or what the request is for, as text. */
function unitOf({ parameters }: oip.ModelInferRequest): string | undefined {
  const given = parameters.get('unit')?.parameterChoice;
  return given === undefined ? undefined : String(given.value);
}

function valuesOf(parameters: ReadonlyMap<string, oip.InferParameter>): ReadonlyMap<string, unknown> {
  return new Map([...parameters].map(([name, { parameterChoice }]) => [name, parameterChoice?.value]));
}

/** Triton's schedule policy. */
function scheduleOf({ parameters }: oip.ModelInferRequest) {
  return {
    priority: priorityOf(parameters.get('priority')?.parameterChoice?.value),
    timeoutMs: timeoutMsOf(parameters.get('timeout')?.parameterChoice?.value),
  };
}

/** Outputs are raw when the inputs were. */
export function answerOf(
  request: oip.ModelInferRequest,
  { version, outputs, routedTo, parameters }: InferOutcome,
): oip.ModelInferResponse {
  const raw = request.rawInputContents.length > 0;
  const response: oip.ModelInferResponse = {
    modelName: request.modelName,
    modelVersion: version,
    id: request.id,
    parameters: new Map(
      [...(parameters ?? [])].map(([name, value]) => [name, { parameterChoice: { $case: 'stringParam', value } }]),
    ),
    outputs: [],
    rawOutputContents: [],
  };
  if (routedTo !== undefined)
    response.parameters.set('model', { parameterChoice: { $case: 'stringParam', value: routedTo } });
  for (const [name, tensor] of outputs) {
    response.outputs.push({
      name,
      datatype: tensor.datatype,
      shape: tensor.shape.map(BigInt),
      parameters: new Map(),
      contents: raw ? undefined : toContents(name, tensor),
    });
    if (raw) response.rawOutputContents.push(toRaw(tensor));
  }
  return response;
}
