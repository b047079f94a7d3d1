import type { definitions } from '@millrace/contracts';
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
  /** A path relative to the model repository, or a `file:` URL. */
  readonly uri: string;
  /** SHA-256 of the bytes, hex. */
  readonly sha256: string;
  /**
   * Left out: onnx. Native files are `booster.save_model(…)` as .json or .ubj (xgboost) and .txt (lightgbm); a custom model is one module,
   * .ts, .mts, .js or .mjs, that exports `model` (see `defineModel`).
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
  /** How a custom model is run. */
  readonly custom?: CustomOptions;
}

export type ModelFormat = 'onnx' | 'xgboost' | 'lightgbm' | 'custom';

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

/** A model file: ONNX, native of XGBoost or LightGBM, or a module. */
export function model(name: string, options: ModelOptions): Model {
  const spec: definitions.Model = {
    uri: options.uri,
    sha256: options.sha256,
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
    custom: options.custom && customSpec(options.custom),
  };
  return { kind: 'model', name, definition: define(name, options, { $case: 'model', value: spec }) };
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
