import { oip } from '@millrace/contracts';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { Infer } from '../app/infer.ts';
import type { ModelBook } from '../app/model-book.ts';
import type { TensorSpec } from '../domain/tensor.ts';
import { factsParameters } from './model-facts.ts';
import { decodeInputs, toContents, toRaw } from './oip-tensors.ts';

/** The Open Inference Protocol, version 2. Outputs are raw when the inputs were. */
export function oipService({ book, infer }: { readonly book: ModelBook; readonly infer: Infer }): ServiceBinding {
  return bindService(oip.GRPCInferenceServiceService, {
    serverLive: () => ({ live: true }),
    serverReady: () => ({ ready: book.settled() }),
    modelReady: ({ name, version }) => {
      const model = book.find(name, version);
      // an unknown model is NOT_FOUND, one that is loading or has failed is not ready
      if (!model) book.ready(name, version);
      return { ready: model?.state.t === 'ready' };
    },
    serverMetadata: () => ({ name: 'millrace', version: '0.1.0', extensions: [] }),
    modelMetadata: ({ name, version }) => {
      const model = book.ready(name, version);
      return {
        name,
        versions: [...book.versions(name)],
        platform: 'onnxruntime_onnx',
        inputs: model.loaded.inputs.map(toMetadata),
        outputs: model.loaded.outputs.map(toMetadata),
        parameters: factsParameters(model.loaded.facts),
      };
    },
    modelInfer: async (request, { deadlineMs, signal }) => {
      const raw = request.rawInputContents.length > 0;
      const { version, outputs } = await infer(
        request.modelName,
        request.modelVersion,
        decodeInputs(request),
        request.outputs.map(({ name }) => name),
        { deadlineMs, signal, priority: priorityOf(request), ownsInputs: true },
      );
      return {
        modelName: request.modelName,
        modelVersion: version,
        id: request.id,
        parameters: new Map(),
        outputs: [...outputs].map(([name, tensor]) => ({
          name,
          datatype: tensor.datatype,
          shape: tensor.shape.map(BigInt),
          parameters: new Map(),
          contents: raw ? undefined : toContents(tensor),
        })),
        rawOutputContents: raw ? [...outputs.values()].map(toRaw) : [],
      };
    },
  });
}

function toMetadata({ name, datatype, shape }: TensorSpec) {
  return { name, datatype, shape: shape.map(BigInt) };
}

/** Triton's schedule policy: 1 is the most urgent. */
function priorityOf({ parameters }: oip.ModelInferRequest): number | undefined {
  const given = parameters.get('priority')?.parameterChoice;
  return given?.$case === 'int64Param' || given?.$case === 'uint64Param' ? Number(given.value) : undefined;
}
