import type { definitions, modelConfig } from '@millrace/contracts';
import { toMeshError } from '@millrace/kernel';
import type { ModelFacts } from '@millrace/onnx';
import { kindOf, servedConfig } from '../domain/model-config.ts';
import type { TensorSpec } from '../domain/tensor.ts';
import type { ModelBook } from './model-book.ts';
import type { Repository } from './repository.ts';
import type { InferStatistics, ServeInfer } from './serve-infer.ts';
import type { VersionMeter, VersionMeters } from './version-meters.ts';

export const serverMetadata = {
  name: 'millrace',
  version: '0.1.0',
  extensions: [
    'binary_tensor_data',
    'binary_tensor_data_output',
    'model_configuration',
    'model_repository',
    'parameters',
    'schedule_policy',
    'statistics',
  ],
} as const;

/** What the Open Inference Protocol asks, answered the same on gRPC and REST. */
export interface OipServer {
  readonly book: ModelBook;
  readonly repository: Repository;
  readonly serve: ServeInfer;
  /** Before a request is decoded. */
  readonly refusal: InferStatistics['refusal'];
  /** UNKNOWN_MODEL; one that is loading or has failed is not ready. */
  isReady(name: string, version: string): boolean;
  /** Why it is not. */
  reason(name: string, version: string): string;
  metadata(
    name: string,
    version: string,
  ): {
    readonly versions: readonly string[];
    readonly platform: string;
    readonly inputs: readonly TensorSpec[];
    readonly outputs: readonly TensorSpec[];
    readonly facts: ModelFacts;
  };
  config(name: string, version: string): modelConfig.ModelConfig;
  /** Of all models when there is no name, of all its versions when there is no version. */
  statistics(
    name: string,
    version: string,
  ): readonly { readonly name: string; readonly version: string; readonly meter: VersionMeter }[];
}

export function createOipServer(deps: {
  readonly book: ModelBook;
  readonly repository: Repository;
  readonly infer: InferStatistics;
  readonly meters: VersionMeters;
  readonly deployment: (name: string) => definitions.Deployment | undefined;
  readonly isKnown: (name: string, version: string) => boolean;
}): OipServer {
  const { book, repository, infer } = deps;
  /** A deployment is described as its first target is. */
  const described = (name: string, version: string): [name: string, version: string] => {
    const target = version === '' && !book.find(name, '') ? deps.deployment(name)?.targets[0] : undefined;
    return target ? [target.model, target.modelVersion] : [name, version];
  };
  return {
    book,
    repository,
    serve: infer.serve,
    refusal: infer.refusal,
    isReady(given, givenVersion) {
      const [name, version] = described(given, givenVersion);
      const model = book.find(name, version);
      if (!model && !deps.isKnown(name, version)) book.ready(name, version);
      return model?.state.t === 'ready' && model.state.loaded.unready?.() === undefined;
    },
    reason(given, givenVersion) {
      try {
        book.ready(...described(given, givenVersion));
        return '';
      } catch (error) {
        return toMeshError(error).message;
      }
    },
    metadata(given, givenVersion) {
      const [name, version] = described(given, givenVersion);
      const { loaded, spec } = book.ready(name, version);
      const { inputs, outputs, facts } = loaded;
      return { versions: book.versions(name), platform: kindOf(spec.format).platform, inputs, outputs, facts };
    },
    config(given, givenVersion) {
      const { loaded, spec } = book.ready(...described(given, givenVersion));
      return servedConfig(given, loaded, kindOf(spec.format), loaded.plan?.config);
    },
    statistics(name, version) {
      if (name !== '') book.ready(name, version);
      const wanted = version === '' ? '' : book.ready(name, version).version;
      return book
        .all()
        .filter((model) => model.state.t === 'ready')
        .filter((model) => (name === '' || model.name === name) && (wanted === '' || model.version === wanted))
        .map((model) => ({
          name: model.name,
          version: model.version,
          meter: deps.meters.of(model.name, model.version),
        }));
    },
  };
}
