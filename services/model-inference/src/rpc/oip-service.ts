import { oip } from '@millrace/contracts';
import { MeshError, toMeshError } from '@millrace/kernel';
import { bindService, type CallContext, type Handlers, type ServiceBinding } from '@millrace/rpc';
import { type OipServer, serverMetadata } from '../app/oip-server.ts';
import { toStatistics } from '../app/statistics-message.ts';
import { loadOverrides } from '../domain/repository-layout.ts';
import type { TensorSpec } from '../domain/tensor.ts';
import { glanceAt } from './glance.ts';
import { factsParameters } from './model-facts.ts';
import { answerOf, callOf } from './oip-infer.ts';
import { orderedStream } from './ordered-stream.ts';

/** Requests of one stream that are worked on at once. */
const streamInFlightMax = 64;

/** The Open Inference Protocol, version 2, with Triton's repository, configuration, statistics and stream. */
export function oipService(server: OipServer): ServiceBinding {
  const { book, repository, serve } = server;
  const handlers: Handlers<oip.GRPCInferenceServiceService> = {
    serverLive: () => ({ live: true }),
    serverReady: () => ({ ready: book.settled() }),
    modelReady: ({ name, version }) => ({ ready: server.isReady(name, version) }),
    serverMetadata: () => ({ ...serverMetadata, extensions: [...serverMetadata.extensions] }),
    modelMetadata({ name, version }) {
      const { versions, platform, inputs, outputs, facts } = server.metadata(name, version);
      return {
        name,
        versions: [...versions],
        platform,
        inputs: inputs.map(toMetadata),
        outputs: outputs.map(toMetadata),
        parameters: factsParameters(facts),
      };
    },
    modelInfer: (request, context) => serve(callOf(request, context), (outcome) => answerOf(request, outcome)),
    modelStreamInfer: (requests, { signal, metadata }) =>
      orderedStream(requests, streamInFlightMax, async (request) => {
        try {
          const inferResponse = await serve(callOf(request, { signal, metadata, deadlineMs: undefined }), (outcome) =>
            answerOf(request, outcome),
          );
          inferResponse.parameters.set('triton_final_response', finalResponse);
          return { errorMessage: '', inferResponse };
        } catch (thrown) {
          // the stream goes on: the answer's id says whose error it is
          const inferResponse = oip.ModelInferResponse.fromPartial({ id: request.id, modelName: request.modelName });
          return { errorMessage: toMeshError(thrown).message, inferResponse };
        }
      }),
    modelConfig: ({ name, version }) => ({ config: server.config(name, version) }),
    modelStatistics: ({ name, version }) => ({
      modelStats: server.statistics(name, version).map((of) => toStatistics(of.name, of.version, of.meter)),
    }),
    repositoryIndex: ({ repositoryName, ready }) => {
      refuseRepository(repositoryName);
      return { models: [...repository.index(ready)] };
    },
    async repositoryModelLoad({ repositoryName, modelName, parameters }) {
      refuseRepository(repositoryName);
      const given = [...parameters].map(([name, { parameterChoice }]) => [name, parameterChoice?.value] as const);
      await repository.load(modelName, loadOverrides(new Map(given)));
      return {};
    },
    async repositoryModelUnload({ repositoryName, modelName }) {
      refuseRepository(repositoryName);
      await repository.unload(modelName);
      return {};
    },
  };
  const modelInfer = ({ deadlineMs }: CallContext, message: Buffer) => {
    // without one only a full queue refuses, which can be told later
    if (deadlineMs === undefined) return undefined;
    const { priority, ...glance } = glanceAt(message);
    return server.refusal({ ...glance, options: { deadlineMs, priority } });
  };
  return bindService(oip.GRPCInferenceServiceService, handlers, {}, { modelInfer });
}

const finalResponse: oip.InferParameter = { parameterChoice: { $case: 'boolParam', value: true } };

function toMetadata({ name, datatype, shape }: TensorSpec) {
  return { name, datatype, shape: shape.map(BigInt) };
}

function refuseRepository(name: string): void {
  if (name === '') return;
  throw new MeshError('UNSUPPORTED', `there is one model repository, without a name; leave out "${name}"`, {
    repository: name,
  });
}
