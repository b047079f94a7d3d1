import { MeshError, toMeshError } from '@millrace/kernel';
import {
  type BookedModel,
  type LoadRequest,
  type ModelBook,
  type ModelLoader,
  readyModel,
  type WantedModel,
} from './model-book.ts';

/** A version of a model on disk; another digest is other bytes, or another configuration, under the same number. */
export interface DiskModel extends WantedModel {
  readonly digest: string;
  readonly plan: LoadRequest['plan'];
  readonly warmupFile: LoadRequest['warmupFile'];
}

export interface DiskBook extends Omit<ModelBook, 'want'> {
  /**
   * Loads what is new, and what has another digest beside what is served: it answers from the moment it has loaded, and where it cannot be
   * loaded, what was served goes on. Unloads what is not wanted any more, once what is wanted of the model has loaded.
   */
  put(models: readonly DiskModel[]): void;
  /** Tries versions of the model that have failed once more. */
  retry(name: string): void;
  has(name: string): boolean;
  /** Why the newest files of a version are not those that are served. */
  problem(name: string, version: string): MeshError | undefined;
  /** What is served of a version, or is being loaded. */
  digest(name: string, version: string): string | undefined;
}

interface Place {
  model: BookedModel;
  digest: string;
  wanted: DiskModel;
  problem: MeshError | undefined;
  /** Not wanted: it answers until what is wanted of its model has loaded. */
  isLeaving: boolean;
}

export function createDiskBook(deps: {
  readonly load: ModelLoader;
  readonly onChange: (model: BookedModel) => void;
  /** Other bytes could not be loaded in its place. */
  readonly onKept: (model: BookedModel, problem: MeshError) => void;
  /** `isReplaced`: other bytes answer in its place. */
  readonly onUnload: (model: BookedModel, isReplaced: boolean) => void;
  /** Names of models that are served from elsewhere. */
  readonly others: () => readonly string[];
}): DiskBook {
  const places = new Map<string, Place>();
  const loading = new Map<Place, Promise<void>>();
  const key = (name: string, version: string) => `${name}@${version}`;

  /** One load of a place at a time; what was put meanwhile comes next. */
  function start(place: Place): void {
    if (loading.has(place)) return;
    loading.set(
      place,
      load(place).finally(() => {
        loading.delete(place);
        if (isKept(place) && place.wanted.digest !== place.digest && !place.problem) start(place);
      }),
    );
  }

  const isKept = (place: Place) => places.get(key(place.wanted.name, place.wanted.version)) === place;

  async function load(place: Place): Promise<void> {
    const { wanted } = place;
    const { name, version, spec, plan, warmupFile } = wanted;
    const next: BookedModel = { name, version, spec, state: { t: 'loading' } };
    try {
      const request = { name, version, ...spec, plan, ...(warmupFile && { warmupFile }) };
      next.state = { t: 'ready', loaded: await deps.load(request) };
    } catch (thrown) {
      next.state = { t: 'failed', cause: toMeshError(thrown) };
    }
    if (!isKept(place)) return unload(next, false);
    const before = place.model;
    if (next.state.t === 'failed' && before.state.t === 'ready') {
      if (place.wanted === wanted) place.problem = next.state.cause;
      deps.onKept(before, next.state.cause);
      return;
    }
    place.model = next;
    place.digest = wanted.digest;
    place.problem = undefined;
    deps.onChange(next);
    release(place.wanted.name);
    await unload(before, true);
  }

  /** Lets go of what a model had before, unless some of what is wanted has not loaded. */
  function release(name: string): void {
    const own = [...places].filter(([, { wanted }]) => wanted.name === name);
    if (own.some(([, { isLeaving, model }]) => !isLeaving && model.state.t !== 'ready')) return;
    for (const [id, place] of own) {
      if (!place.isLeaving) continue;
      places.delete(id);
      void unload(place.model, false);
    }
  }

  async function unload(model: BookedModel, isReplaced: boolean): Promise<void> {
    if (model.state.t !== 'ready') return;
    deps.onUnload(model, isReplaced);
    await model.state.loaded.close();
  }

  const ofName = (name: string) =>
    [...places.values()].map(({ model }) => model).filter((model) => model.name === name);

  const find = (name: string, version: string): BookedModel | undefined => {
    if (version !== '') return places.get(key(name, version))?.model;
    const models = ofName(name).toSorted((a, b) => Number(b.version) - Number(a.version));
    return models.find(({ state }) => state.t === 'ready') ?? models[0];
  };

  return {
    put(models) {
      const keep = new Set(models.map(({ name, version }) => key(name, version)));
      for (const [id, place] of places) {
        place.isLeaving = !keep.has(id);
      }
      for (const wanted of models) {
        const id = key(wanted.name, wanted.version);
        const known = places.get(id);
        if (known?.wanted.digest === wanted.digest) continue;
        const { name, version, spec, digest } = wanted;
        const place = known ?? {
          model: { name, version, spec, state: { t: 'loading' } },
          digest,
          wanted,
          isLeaving: false,
          problem: undefined,
        };
        place.wanted = wanted;
        place.problem = undefined;
        places.set(id, place);
        // files that are put back are those that are served
        if (place.digest !== digest || place.model.state.t !== 'ready') start(place);
      }
      for (const name of new Set([...places.values()].map(({ wanted }) => wanted.name))) release(name);
    },
    retry(name) {
      for (const place of places.values()) {
        if (place.wanted.name !== name || (place.model.state.t !== 'failed' && !place.problem)) continue;
        place.problem = undefined;
        start(place);
      }
    },
    has: (name) => ofName(name).length > 0,
    problem: (name, version) => places.get(key(name, version))?.problem,
    digest: (name, version) => places.get(key(name, version))?.digest,
    find,
    ready(name, version) {
      const model = find(name, version);
      if (!model) throw unknown(name, version);
      return readyModel(name, model);
    },
    versions: (name) => ofName(name).map(({ version }) => version),
    all: () => [...places.values()].map(({ model }) => model),
    async settle(name) {
      const wait = () => [...loading].flatMap(([{ wanted }, done]) => (wanted.name === name ? [done] : []));
      for (let pending = wait(); pending.length > 0; pending = wait()) await Promise.all(pending);
    },
    settled: () => [...places.values()].every(({ model }) => model.state.t !== 'loading'),
    async close() {
      const open = [...places.values()];
      places.clear();
      await Promise.all(open.map(({ model }) => unload(model, false)));
    },
  };

  function unknown(name: string, version: string): MeshError {
    const versions = ofName(name).map((model) => model.version);
    const metadata = { model: name, version };
    if (versions.length > 0)
      return new MeshError(
        'UNKNOWN_MODEL',
        `model "${name}" has no version "${version}"; versions: ${versions.join(', ')}`,
        metadata,
      );
    const names = [...new Set([...deps.others(), ...[...places.values()].map(({ model }) => model.name)])];
    return new MeshError(
      'UNKNOWN_MODEL',
      `there is no model "${name}"; models: ${names.join(', ') || 'none yet'}`,
      metadata,
    );
  }
}

/** Both books as one; a name that the first has is the first's. */
export function joinBooks(
  first: ModelBook,
  disk: DiskBook,
  isKnown: (name: string, version: string) => boolean,
): ModelBook {
  const isOnDisk = (name: string, version: string) =>
    first.find(name, version) === undefined &&
    first.versions(name).length === 0 &&
    !isKnown(name, version) &&
    !name.includes('@');
  return {
    want: first.want,
    find: (name, version) =>
      first.find(name, version) ?? (isOnDisk(name, version) ? disk.find(name, version) : undefined),
    ready: (name, version) => (isOnDisk(name, version) ? disk.ready(name, version) : first.ready(name, version)),
    versions: (name) => [...first.versions(name), ...disk.versions(name)],
    all: () => [...first.all(), ...disk.all()],
    settle: async (name) => void (await Promise.all([first.settle(name), disk.settle(name)])),
    settled: () => first.settled() && disk.settled(),
    close: async () => void (await Promise.all([first.close(), disk.close()])),
  };
}
