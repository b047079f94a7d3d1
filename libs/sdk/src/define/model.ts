import type { definitions } from '@millrace/contracts';
import type { TensorDeclaration } from '@millrace/custom-model';
import { parseDurationUs } from '@millrace/kernel';
import type { FeatureService } from './feature-service.ts';
import type { Source } from './source.ts';
import { type Defined, define, type MetadataOptions } from './types.ts';

export interface Model extends Defined {
  readonly kind: 'model';
  readonly name: string;
}

/** Where a column of the model's input vector comes from. */
export type InputColumn = ({ readonly feature: string } | { readonly request: string }) & {
  /** Put in place of a null; left out: NaN. */
  readonly fill?: number;
};

export interface ModelOptions extends MetadataOptions {
  /**
   * A path relative to the model repository, or a `file:` URL. Of a remote model: `grpc://host:port/model[/version]`,
   * `http(s)://…/v2/models/model[/versions/version]`, or `http(s)://…/v1/models/model[/versions/version]` (TensorFlow Serving).
   */
  readonly uri: string;
  /** SHA-256 of the bytes, hex; left out for a remote model, which has none. */
  readonly sha256?: string;
  /**
   * Left out: onnx. Native files are `booster.save_model(…)` as .json or .ubj (xgboost) and .txt (lightgbm); a custom model is one module,
   * .ts, .mts, .js or .mjs, that exports `model` (see `defineModel`); a remote model is served by another server.
   */
  readonly format?: ModelFormat;
  readonly featureService?: FeatureService;
  readonly input?: { readonly name: string; readonly columns: readonly InputColumn[] };
  readonly output?: { readonly name: string; readonly column?: number };
  /** How outcomes are found: events of `source` whose `key` equals the prediction's key, with the outcome in `label`. */
  readonly outcome?: { readonly source: Source; readonly key: string; readonly label: string };
  /** Answers are given again to equal rows for so long (`10m`); left out: every request runs the model. For models whose answers are not drawn at random. */
  readonly responseCache?: { readonly ttl: string };
  /** The trees as XGBoost (`save_model('model.json')`) or LightGBM (`save_model('model.txt')`) wrote them: exact attributions need them. */
  readonly trees?: ModelFile;
  /** How its inputs and its score were spread in training (`millrace model profile` writes it): drift is watched against it. Makes no new version. */
  readonly profile?: ModelFile;
  /** Columns whose values are judged one by one as outcomes come: join keys, or columns of the vector; at most 8. Makes no new version. */
  readonly segments?: readonly string[];
  /**
   * Requests of the Open Inference Protocol with the `outputs` that a version must answer before it serves, as lines of JSON
   * (`millrace model golden` records them); the version before serves on where it does not. Makes no new version.
   */
  readonly golden?: ModelFile;
  /** How a custom model is run. */
  readonly custom?: CustomOptions;
  /** How a remote model is called. */
  readonly remote?: RemoteOptions;
}

export type ModelFormat = 'onnx' | 'xgboost' | 'lightgbm' | 'custom' | 'remote';

/** A model that another server serves: any of the Open Inference Protocol, or TensorFlow Serving. */
export interface RemoteOptions {
  /** For a call whose caller has no earlier deadline; left out: `10s`. */
  readonly timeout?: string;
  /** Calls at once, at most 1,024; left out: 32. */
  readonly callsMax?: number;
  /** Requests share a call, up to so many rows; left out: each has a call of its own. For backends whose rows do not change each other's answers. */
  readonly batching?: { readonly rowsMax: number };
  /** How often a call that the backend could not take is made again, at most 5; left out: 2. */
  readonly retriesMax?: number;
  /** Of TensorFlow Serving; left out: `serving_default`. */
  readonly signatureName?: string;
  /** In place of what the backend says of itself. */
  readonly inputs?: readonly TensorDeclaration[];
  readonly outputs?: readonly TensorDeclaration[];
}

/** A custom model runs in processes of its own, which are stopped beyond these limits and started again. */
export interface CustomOptions {
  /** MiB that the model may take in a process, heap and tensors together, 16 to 65,536; left out: 256. */
  readonly memoryMib?: number;
  /** For the start of a process and `load`; left out: `30s`. */
  readonly loadTimeout?: string;
  /** For a call of `predict`; left out: `5s`. */
  readonly predictTimeout?: string;
  /** Each answers one call at a time; left out: 1. */
  readonly processes?: number;
  /** Given to `load` and `predict`. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** Files whose bytes are given to `load` and `predict`, by the names that they know them by. */
  readonly files?: Readonly<Record<string, ModelFile>>;
}

/** A file beside the model's own. */
export interface ModelFile {
  /** A path relative to the model repository, or a `file:` URL. */
  readonly uri: string;
  /** SHA-256 of the bytes, hex. */
  readonly sha256: string;
}

/** A model: a file of ONNX, XGBoost or LightGBM, a module, or one that another server serves. */
export function model(name: string, options: ModelOptions): Model {
  const spec: definitions.Model = {
    uri: options.uri,
    sha256: options.sha256 ?? '',
    format: options.format ?? 'onnx',
    featureService: options.featureService?.name ?? '',
    inputName: options.input?.name ?? '',
    inputColumns: (options.input?.columns ?? []).map((column) => ({
      source:
        'feature' in column
          ? { $case: 'feature', value: column.feature }
          : { $case: 'requestField', value: column.request },
      fill: column.fill,
    })),
    outputName: options.output?.name ?? '',
    outputColumn: options.output?.column ?? 0,
    outcome: options.outcome && {
      source: options.outcome.source.name,
      keyField: options.outcome.key,
      labelField: options.outcome.label,
    },
    responseCacheTtlUs: options.responseCache ? BigInt(parseDurationUs(options.responseCache.ttl)) : 0n,
    trees: options.trees,
    profile: options.profile,
    segments: [...(options.segments ?? [])],
    custom: options.custom && customSpec(options.custom),
    remote: options.remote && remoteSpec(options.remote),
    golden: options.golden,
  };
  return { kind: 'model', name, definition: define(name, options, { $case: 'model', value: spec }) };
}

function remoteSpec(options: RemoteOptions): definitions.RemoteModel {
  const declared = (tensors: readonly TensorDeclaration[] = []) =>
    tensors.map(({ name, datatype, shape }) => ({ name, datatype, shape: shape.map(BigInt) }));
  return {
    timeoutUs: options.timeout === undefined ? 0n : BigInt(parseDurationUs(options.timeout)),
    callsMax: options.callsMax ?? 0,
    batchRowsMax: options.batching?.rowsMax ?? 0,
    retriesMax: options.retriesMax,
    signatureName: options.signatureName ?? '',
    inputs: declared(options.inputs),
    outputs: declared(options.outputs),
  };
}

function customSpec(options: CustomOptions): definitions.CustomModel {
  const us = (duration: string | undefined) => (duration === undefined ? 0n : BigInt(parseDurationUs(duration)));
  return {
    memoryMib: options.memoryMib ?? 0,
    loadTimeoutUs: us(options.loadTimeout),
    predictTimeoutUs: us(options.predictTimeout),
    processes: options.processes ?? 0,
    parameters: new Map(Object.entries(options.parameters ?? {})),
    files: Object.entries(options.files ?? {}).map(([name, { uri, sha256 }]) => ({ name, uri, sha256 })),
  };
}
