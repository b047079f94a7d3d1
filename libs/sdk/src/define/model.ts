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
  /** Left out: onnx. Native files are `booster.save_model(…)` as .json or .ubj (xgboost) and .txt (lightgbm). */
  readonly format?: 'onnx' | 'xgboost' | 'lightgbm';
  readonly featureService?: FeatureService;
  readonly input?: { readonly name: string; readonly columns: readonly InputColumn[] };
  readonly output?: { readonly name: string; readonly column?: number };
  /** How outcomes are found: events of `source` whose `key` equals the prediction's key, with the outcome in `label`. */
  readonly outcome?: { readonly source: Source; readonly key: string; readonly label: string };
  /** Answers are given again to equal rows for so long (`10m`); left out: every request runs the model. For models whose answers are not drawn at random. */
  readonly responseCache?: { readonly ttl: string };
  /** The trees as XGBoost (`save_model('model.json')`) or LightGBM (`save_model('model.txt')`) wrote them: exact attributions need them. */
  readonly trees?: ModelFile;
}

/** A file beside the model's own. */
export interface ModelFile {
  /** A path relative to the model repository, or a `file:` URL. */
  readonly uri: string;
  /** SHA-256 of the bytes, hex. */
  readonly sha256: string;
}

/** A model file: ONNX, or native of XGBoost or LightGBM. */
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
  };
  return { kind: 'model', name, definition: define(name, options, { $case: 'model', value: spec }) };
}
