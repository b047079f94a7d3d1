import type { definitions } from '@millrace/contracts';
import { MeshError, toMeshError } from '@millrace/kernel';
import type { Tensor, TensorSpec } from '../domain/tensor.ts';

export interface LoadedModel {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  queued(): number;
  /** OVERLOADED when too many wait; MODEL_RUN_FAILED. */
  run(inputs: ReadonlyMap<string, Tensor>, outputs: readonly string[]): Promise<ReadonlyMap<string, Tensor>>;
  close(): Promise<void>;
}

export type ModelLoader = (model: {
  readonly name: string;
  readonly uri: string;
  readonly sha256: string;
}) => Promise<LoadedModel>;

export type ModelState =
  | { readonly t: 'loading' }
  | { readonly t: 'ready'; readonly loaded: LoadedModel }
  | { readonly t: 'failed'; readonly cause: MeshError };

export interface WantedModel {
  readonly name: string;
  readonly version: string;
  readonly spec: definitions.Model;
}

export interface BookedModel extends WantedModel {
  state: ModelState;
}

/** The model versions that this process serves. */
export interface ModelBook {
  /** Loads what is new and unloads what is not wanted any more; the rest goes on. */
  want(models: readonly WantedModel[], current: ReadonlyMap<string, string>): void;
  /** UNKNOWN_MODEL; NOT_READY while it loads; MODEL_LOAD_FAILED. */
  ready(name: string, version: string): BookedModel & { readonly loaded: LoadedModel };
  find(name: string, version: string): BookedModel | undefined;
  versions(name: string): readonly string[];
  all(): readonly BookedModel[];
  close(): Promise<void>;
}

export function createModelBook(deps: {
  readonly load: ModelLoader;
  readonly onChange?: (model: BookedModel) => void;
}): ModelBook {
  const models = new Map<string, BookedModel>();
  let currentVersions: ReadonlyMap<string, string> = new Map();
  const key = (name: string, version: string) => `${name}@${version}`;

  async function load(model: BookedModel): Promise<void> {
    try {
      const loaded = await deps.load({ name: model.name, uri: model.spec.uri, sha256: model.spec.sha256 });
      if (models.get(key(model.name, model.version)) === model) model.state = { t: 'ready', loaded };
      else await loaded.close();
    } catch (thrown) {
      model.state = { t: 'failed', cause: toMeshError(thrown) };
    }
    deps.onChange?.(model);
  }

  async function unload(model: BookedModel): Promise<void> {
    if (model.state.t === 'ready') await model.state.loaded.close();
  }

  const find = (name: string, version: string) => models.get(key(name, version || (currentVersions.get(name) ?? '')));

  return {
    want(wanted, current) {
      currentVersions = current;
      const keep = new Set(wanted.map(({ name, version }) => key(name, version)));
      for (const [id, model] of models) {
        if (keep.has(id)) continue;
        models.delete(id);
        void unload(model);
      }
      for (const one of wanted) {
        const known = models.get(key(one.name, one.version));
        if (known && known.state.t !== 'failed') continue;
        const model: BookedModel = { ...one, state: { t: 'loading' } };
        models.set(key(one.name, one.version), model);
        void load(model);
      }
    },
    find,
    ready(name, version) {
      const model = find(name, version);
      if (!model) {
        const names = [...new Set([...models.values()].map((known) => known.name))];
        throw new MeshError(
          'UNKNOWN_MODEL',
          `there is no model "${name}"${version ? ` of version "${version}"` : ''}; models: ${names.join(', ') || 'none yet'}`,
          { model: name, version },
        );
      }
      if (model.state.t === 'failed') throw model.state.cause;
      if (model.state.t === 'loading')
        throw new MeshError(
          'NOT_READY',
          `model "${name}" is being loaded; retry in a moment`,
          { model: name, version: model.version },
          { retryAfterMs: 200 },
        );
      return Object.assign(model, { loaded: model.state.loaded });
    },
    versions: (name) => [...models.values()].filter((model) => model.name === name).map(({ version }) => version),
    all: () => [...models.values()],
    async close() {
      await Promise.all([...models.values()].map(unload));
      models.clear();
    },
  };
}
