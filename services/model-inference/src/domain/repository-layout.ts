import type { modelConfig } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';

/** A folder of a model, as it was found. */
export interface ListedModel {
  readonly name: string;
  /** Its `config.pbtxt`, where there is one. */
  readonly config: string | undefined;
  readonly versions: readonly ListedVersion[];
  /** Where the files of warm-ups are. */
  readonly warmupDir: string;
}

export interface ListedVersion {
  readonly version: number;
  readonly dir: string;
  readonly files: readonly string[];
}

const namePattern = /^[A-Za-z0-9_][\w.-]{0,127}$/;

/** Whether a folder's name, or one that is given with a load, can be a model's. */
export function isModelName(name: string): boolean {
  return namePattern.test(name);
}

/** A folder's number; 0 and numbers with zeros before them are none, as in Triton. */
export function versionOf(folder: string): number | undefined {
  return /^[1-9]\d{0,14}$/.test(folder) ? Number(folder) : undefined;
}

/** The versions that are served, ascending; without a policy the latest. */
export function chosenVersions(
  policy: modelConfig.ModelVersionPolicy | undefined,
  available: readonly number[],
): readonly number[] {
  const sorted = available.toSorted((a, b) => a - b);
  const choice = policy?.policyChoice;
  switch (choice?.$case) {
    case 'all':
      return sorted;
    case 'specific':
      return sorted.filter((version) => choice.value.versions.includes(BigInt(version)));
    case 'latest':
    case undefined:
      return sorted.slice(-Math.max(1, choice?.value.numVersions ?? 1));
    default:
      return choice satisfies never;
  }
}

/** The versions that a policy names and the folder lacks. */
export function missingVersions(
  policy: modelConfig.ModelVersionPolicy | undefined,
  available: readonly number[],
): readonly bigint[] {
  const choice = policy?.policyChoice;
  if (choice?.$case !== 'specific') return [];
  return choice.value.versions.filter((version) => !available.some((known) => BigInt(known) === version));
}

const formats: Readonly<Record<string, string>> = { onnx: 'onnx', json: 'xgboost', ubj: 'xgboost', txt: 'lightgbm' };
const defaultFiles = ['model.onnx', 'model.json', 'model.ubj', 'model.txt'] as const;

/** The file of a version, and its format. MODEL_LOAD_FAILED says which names are looked for. */
export function modelFileOf(
  model: string,
  { version, files }: ListedVersion,
  wanted: string,
): { readonly file: string; readonly format: string } {
  const failed = (message: string) =>
    new MeshError('MODEL_LOAD_FAILED', `model "${model}", version ${version}: ${message}`, { model, version });
  if (wanted.includes('/') || wanted.includes('\\'))
    throw failed(`default_model_filename "${wanted}" is a path; it is the name of a file in the version's folder`);
  const found =
    wanted === '' ? defaultFiles.filter((name) => files.includes(name)) : files.filter((name) => name === wanted);
  const [file, other] = found;
  if (file === undefined)
    throw failed(
      `its folder has no ${wanted === '' ? defaultFiles.join(', no ') : wanted}; it has ${files.join(', ') || 'nothing'}`,
    );
  if (other !== undefined)
    throw failed(`its folder has ${found.join(' and ')}; say which one is the model with default_model_filename`);
  const format = formats[file.slice(file.lastIndexOf('.') + 1)];
  if (format === undefined) throw failed(`"${file}" ends in none of ${Object.keys(formats).join(', ')}`);
  return { file, format };
}

/** What a client gives with a load. */
export interface LoadOverrides {
  /** A configuration as JSON. */
  readonly config: string | undefined;
  /** By `<version>/<name>`. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

const filePrefix = 'file:';

/** The parameters of a load, as Triton has them. INVALID_ARGUMENT names what is none. */
export function loadOverrides(parameters: ReadonlyMap<string, unknown>): LoadOverrides | undefined {
  if (parameters.size === 0) return undefined;
  let config: string | undefined;
  const files = new Map<string, Uint8Array>();
  const wrong = (name: string, message: string) =>
    new MeshError('INVALID_ARGUMENT', `load: parameter "${name}" ${message}`, { parameter: name });
  for (const [name, value] of parameters) {
    if (name === 'config') {
      if (typeof value !== 'string') throw wrong(name, 'takes a configuration as JSON text');
      config = value;
    } else if (name.startsWith(filePrefix)) {
      const path = name.slice(filePrefix.length);
      const [folder = '', file = '', ...rest] = path.split('/');
      if (versionOf(folder) === undefined || rest.length > 0 || !namePattern.test(file))
        throw wrong(name, 'takes file:<version>/<name>, as file:1/model.onnx');
      if (!(value instanceof Uint8Array)) throw wrong(name, 'takes the bytes of the file (in JSON: base64)');
      files.set(path, value);
    } else throw wrong(name, 'is none; there are config and file:<version>/<name>');
  }
  if (files.size > 0 && config === undefined)
    throw new MeshError(
      'INVALID_ARGUMENT',
      'load: files need a configuration beside them; give "config", {} at least',
      {
        parameter: 'config',
      },
    );
  return { config, files };
}
