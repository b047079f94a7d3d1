import type { definitions } from '@millrace/contracts';
import { MeshError, toMeshError } from '@millrace/kernel';
import type { ModelFacts } from '@millrace/onnx';
import type { BatchingChoice } from '../domain/batching-choice.ts';
import type { ScheduleAsk } from '../domain/schedule-policy.ts';
import type { ServingPlan } from '../domain/serving-plan.ts';
import type { Tensor, TensorSpec } from '../domain/tensor.ts';

/** What cannot be answered by its deadline is refused early. */
export interface RunOptions extends ScheduleAsk {
  /** Its abort takes the request out of the queue. */
  readonly signal?: AbortSignal | undefined;
  /** The caller needs the inputs no more: large ones change hands instead of being copied. */
  readonly ownsInputs?: boolean;
}

export interface LoadedModel {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** What its file says of itself. */
  readonly facts: ModelFacts;
  /** How its requests share runs, after its file and what was measured. */
  readonly batching: BatchingChoice;
  /** What its configuration says, where it has one. */
  readonly plan?: ServingPlan | undefined;
  /** OVERLOADED when too many wait or the deadline cannot be met; DEADLINE_EXCEEDED, CANCELLED, MODEL_RUN_FAILED. */
  run(
    inputs: ReadonlyMap<string, Tensor>,
    outputs: readonly string[],
    options?: RunOptions,
  ): Promise<ReadonlyMap<string, Tensor>>;
  /** OVERLOADED when a small request would be refused now; for those who ask before they decode one. Left out: nothing is known before. */
  refusal?(options: Pick<RunOptions, 'deadlineMs' | 'priority'>): MeshError | undefined;
  /** Requests that wait to run. */
  waiting?(): number;
  /** Why requests are refused for now although it has loaded; left out: never. */
  unready?(): MeshError | undefined;
  close(): Promise<void>;
}

export interface LoadRequest
  extends Pick<definitions.Model, 'uri' | 'sha256' | 'format'>,
    Partial<Pick<definitions.Model, 'custom' | 'remote'>> {
  readonly name: string;
  readonly version: string;
  /** What the version must answer before it serves. */
  readonly golden?: definitions.ModelFile | undefined;
  /** Requests that every session is run with before it serves. */
  readonly warmUp?: readonly ReadonlyMap<string, Tensor>[];
  /** Of a configuration, where there is one. */
  readonly plan?: ServingPlan | undefined;
  /** Bytes of a file that warm-up requests are made of. */
  readonly warmupFile?: (name: string) => Promise<Buffer>;
}

export type ModelLoader = (model: LoadRequest) => Promise<LoadedModel>;

export type ModelState =
  | { readonly t: 'loading' }
  | { readonly t: 'ready'; readonly loaded: LoadedModel }
  | { readonly t: 'failed'; readonly cause: MeshError };

export interface WantedModel {
  readonly name: string;
  readonly version: string;
  readonly spec: definitions.Model;
}

export interface BookedModel extends Omit<WantedModel, 'spec'> {
  /** As it was wanted last: what makes no version may change. */
  spec: definitions.Model;
  state: ModelState;
}

/** The model versions that this process serves. */
export interface ModelBook {
  /**
   * Loads what is new, tries again what has failed (but a golden check only with another golden file), and unloads what is not wanted any more; the rest goes on. Until a model's new
   * current version has loaded, the one before it answers those who ask for none; for good when it cannot be loaded.
   */
  want(models: readonly WantedModel[], current: ReadonlyMap<string, string>): void;
  /** UNKNOWN_MODEL; MODEL_NOT_READY while it loads; MODEL_LOAD_FAILED. */
  ready(name: string, version: string): BookedModel & { readonly loaded: LoadedModel };
  /** A version is one of the model's, an alias (`champion`, `@champion`), or '' for the current one; a name may bring its alias (`fraud@champion`). */
  find(name: string, version: string): BookedModel | undefined;
  versions(name: string): readonly string[];
  all(): readonly BookedModel[];
  /** Resolves when no version of the model is being loaded. */
  settle(name: string): Promise<void>;
  /** Every version has loaded or failed. */
  settled(): boolean;
  close(): Promise<void>;
}

export function createModelBook(deps: {
  readonly load: ModelLoader;
  /** A version has loaded, or has failed with another reason than before. */
  readonly onChange?: (model: BookedModel) => void;
  readonly onUnload?: (model: BookedModel) => void;
  /** Where an alias of a model points: a version, and the one before it. */
  readonly aliased?: (name: string, alias: string) => readonly string[] | undefined;
  readonly aliasesOf?: (name: string) => readonly string[];
  /** Whether there is such a version, although it is not served now. */
  readonly isKnown?: (name: string, version: string) => boolean;
}): ModelBook {
  const models = new Map<string, BookedModel>();
  /** By name: what answers until the current version has loaded. */
  const standIns = new Map<string, BookedModel>();
  const loading = new Map<BookedModel, Promise<void>>();
  /** By name and alias: the version that answered for it last. */
  const answered = new Map<string, string>();
  let currentVersions: ReadonlyMap<string, string> = new Map();
  const key = (name: string, version: string) => `${name}@${version}`;

  const isBooked = (model: BookedModel) => models.get(key(model.name, model.version)) === model;
  const currentOf = (name: string) => models.get(key(name, currentVersions.get(name) ?? ''));

  async function load(model: BookedModel): Promise<void> {
    const before = model.state;
    try {
      const loaded = await deps.load({ name: model.name, version: model.version, ...model.spec });
      model.state = { t: 'ready', loaded };
    } catch (thrown) {
      model.state = { t: 'failed', cause: toMeshError(thrown) };
    }
    loading.delete(model);
    if (!isBooked(model)) return unload(model);
    const isTold =
      before.t === 'failed' && model.state.t === 'failed' && before.cause.message === model.state.cause.message;
    if (!isTold) deps.onChange?.(model);
    relieveStandIns();
  }

  async function unload(model: BookedModel): Promise<void> {
    if (model.state.t !== 'ready') return;
    deps.onUnload?.(model);
    await model.state.loaded.close();
  }

  function relieveStandIns(): void {
    for (const [name, model] of standIns) {
      const current = currentOf(name);
      if (current && current.state.t !== 'ready') continue;
      standIns.delete(name);
      if (!isBooked(model)) void unload(model);
    }
  }

  /** Until the version that an alias points to has loaded, the one that answered for it before does. */
  function findAliased(name: string, alias: string): BookedModel | undefined {
    const [version, ...before] = deps.aliased?.(name, alias) ?? [];
    if (version === undefined) return undefined;
    const target = models.get(key(name, version));
    const id = key(name, alias);
    if (target?.state.t === 'ready') answered.set(id, version);
    const last = answered.get(id);
    const standIn = last !== undefined && before.includes(last) ? models.get(key(name, last)) : undefined;
    return target?.state.t !== 'ready' && standIn?.state.t === 'ready' ? standIn : target;
  }

  const find = (name: string, version: string): BookedModel | undefined => {
    const standIn = standIns.get(name);
    if (standIn?.version === version) return standIn;
    if (version !== '')
      return models.get(key(name, version)) ?? findAliased(name, version.startsWith('@') ? version.slice(1) : version);
    const at = name.lastIndexOf('@');
    if (at > 0) return findAliased(name.slice(0, at), name.slice(at + 1));
    const current = currentOf(name);
    return current?.state.t === 'ready' ? current : (standIn ?? current);
  };

  function unknown(given: string, wanted: string): MeshError {
    const at = wanted === '' ? given.lastIndexOf('@') : -1;
    const [name, version] = at > 0 ? [given.slice(0, at), given.slice(at)] : [given, wanted];
    const versions = versionsOf(name);
    const aliases = deps.aliasesOf?.(name) ?? [];
    const metadata = { model: name, version };
    if (versions.length + aliases.length > 0 && version !== '')
      return new MeshError(
        'UNKNOWN_MODEL',
        `model "${name}" has no ${version.startsWith('@') ? `alias "${version.slice(1)}"` : `version or alias "${version}"`}; versions: ${versions.join(', ') || 'none'}; aliases: ${aliases.join(', ') || 'none'}`,
        metadata,
      );
    const names = [...new Set([...models.values()].map((known) => known.name))];
    const of = version === '' ? '' : ` of version "${version}"`;
    return new MeshError(
      'UNKNOWN_MODEL',
      `there is no model "${name}"${of}; models: ${names.join(', ') || 'none yet'}`,
      metadata,
    );
  }

  const all = () => [...new Set([...models.values(), ...standIns.values()])];
  const versionsOf = (name: string) => all().flatMap((model) => (model.name === name ? [model.version] : []));

  return {
    want(wanted, current) {
      for (const [name, version] of currentVersions) {
        const model = currentOf(name);
        if (model?.state.t === 'ready' && current.get(name) !== version) standIns.set(name, model);
      }
      currentVersions = current;
      const keep = new Set(wanted.map(({ name, version }) => key(name, version)));
      for (const [id, model] of models) {
        if (keep.has(id)) continue;
        models.delete(id);
        if (standIns.get(model.name) !== model) void unload(model);
      }
      for (const one of wanted) {
        const known = models.get(key(one.name, one.version));
        if (known) known.spec = one.spec;
        if (known && (loading.has(known) || !isWorthLoading(known))) continue;
        const model: BookedModel = known ?? { ...one, state: { t: 'loading' } };
        models.set(key(one.name, one.version), model);
        loading.set(model, load(model));
      }
      relieveStandIns();
    },
    find,
    ready(name, version) {
      const model = find(name, version);
      if (!model && deps.isKnown?.(name, version))
        throw new MeshError(
          'MODEL_NOT_READY',
          `model "${name}" is not loaded; load it (RepositoryModelLoad), or retry in a moment if you just did`,
          {
            model: name,
          },
        );
      if (!model) throw unknown(name, version);
      return readyModel(name, model);
    },
    versions: versionsOf,
    all,
    async settle(name) {
      const wait = () => [...loading].flatMap(([model, done]) => (model.name === name ? [done] : []));
      for (let pending = wait(); pending.length > 0; pending = wait()) await Promise.all(pending);
    },
    settled: () => [...models.values()].every(({ state }) => state.t !== 'loading'),
    async close() {
      const open = all();
      models.clear();
      standIns.clear();
      await Promise.all(open.map(unload));
    },
  };
}

/** The model as it serves; what it failed with, or MODEL_NOT_READY while it loads, otherwise. */
export function readyModel(name: string, model: BookedModel): BookedModel & { readonly loaded: LoadedModel } {
  if (model.state.t === 'ready') return { ...model, loaded: model.state.loaded };
  if (model.state.t === 'failed') throw model.state.cause;
  throw new MeshError(
    'MODEL_NOT_READY',
    `model "${name}" is being loaded; retry in a moment`,
    { model: name, version: model.version },
    { retryAfterMs: 200 },
  );
}

/** Bytes that have answered wrongly will do so again; files that were missing may have come. */
function isWorthLoading({ state, spec }: BookedModel): boolean {
  if (state.t !== 'failed') return false;
  const { reason, metadata } = state.cause;
  return reason !== 'GOLDEN_CHECK_FAILED' || metadata.golden_sha256 !== spec.golden?.sha256;
}
