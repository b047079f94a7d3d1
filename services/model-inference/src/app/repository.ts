import { MeshError } from '@millrace/kernel';
import type { RegistrySnapshot } from '@millrace/registry';
import type { LoadOverrides } from '../domain/repository-layout.ts';
import type { BookedModel, ModelBook } from './model-book.ts';

/** A line of the repository's index; states are Triton's. */
export interface RepositoryEntry {
  readonly name: string;
  readonly version: string;
  readonly state: 'READY' | 'LOADING' | 'UNAVAILABLE';
  readonly reason: string;
}

/** What this process serves of the models that it knows, and could serve. */
export interface Repository {
  index(readyOnly: boolean): readonly RepositoryEntry[];
  /** Serves the model again, and tries failed versions at once; returns when it is ready. UNKNOWN_MODEL, MODEL_LOAD_FAILED. */
  load(name: string, overrides?: LoadOverrides): Promise<void>;
  /** Stops serving the model until it is loaded or the process starts again; what runs is finished. UNKNOWN_MODEL. */
  unload(name: string): Promise<void>;
}

/** The names that callers have unloaded. */
export interface UnloadedModels {
  has(name: string): boolean;
  add(name: string): void;
  delete(name: string): void;
}

export function createRepository(deps: {
  readonly book: ModelBook;
  readonly unloaded: UnloadedModels;
  /** Every model version that there is, loaded or not. */
  readonly known: () => readonly { readonly name: string; readonly version: string }[];
  /** Brings the book to what is wanted now. */
  readonly follow: () => Promise<void>;
}): Repository {
  const { book, unloaded, known, follow } = deps;
  const mustBeKnown = (name: string) => {
    if (known().some((model) => model.name === name)) return;
    const names = [...new Set(known().map((model) => model.name))];
    throw new MeshError('UNKNOWN_MODEL', `there is no model "${name}"; models: ${names.join(', ') || 'none yet'}`, {
      model: name,
    });
  };
  return {
    index(readyOnly) {
      const entries = known().map(({ name, version }) => entryOf(name, version, book, unloaded));
      return readyOnly ? entries.filter(({ state }) => state === 'READY') : entries;
    },
    async load(name, overrides) {
      if (overrides) throw overridesRefused(name);
      const wasUnloaded = unloaded.has(name);
      unloaded.delete(name);
      await follow();
      if (!known().some((model) => model.name === name) && wasUnloaded) unloaded.add(name);
      mustBeKnown(name);
      await book.settle(name);
      const failed = book.all().find((model) => model.name === name && model.state.t === 'failed');
      if (failed?.state.t === 'failed') throw failed.state.cause;
    },
    async unload(name) {
      mustBeKnown(name);
      unloaded.add(name);
      await follow();
    },
  };
}

/** Every version of the registry's models, and those that are served. */
export function knownModels(snapshot: RegistrySnapshot, book: ModelBook) {
  const known = new Map<string, { readonly name: string; readonly version: string }>();
  for (const { name, version } of [...snapshot.models.values(), ...book.all()])
    known.set(`${name}@${version}`, { name, version });
  return [...known.values()].toSorted((a, b) =>
    a.name < b.name || (a.name === b.name && a.version < b.version) ? -1 : 1,
  );
}

function entryOf(name: string, version: string, book: ModelBook, unloaded: UnloadedModels): RepositoryEntry {
  const booked = book.find(name, version);
  if (unloaded.has(name)) return { name, version, state: 'UNAVAILABLE', reason: 'unloaded' };
  return { name, version, ...stateOf(booked) };
}

function stateOf(booked: BookedModel | undefined): Pick<RepositoryEntry, 'state' | 'reason'> {
  if (!booked) return { state: 'UNAVAILABLE', reason: 'not wanted by the registry or the version policy' };
  switch (booked.state.t) {
    case 'ready': {
      const unready = booked.state.loaded.unready?.();
      return unready ? { state: 'UNAVAILABLE', reason: unready.message } : { state: 'READY', reason: '' };
    }
    case 'loading':
      return { state: 'LOADING', reason: '' };
    case 'failed':
      return { state: 'UNAVAILABLE', reason: booked.state.cause.message };
    default:
      return booked.state satisfies never;
  }
}

/** What a registered model is stands in the registry alone. */
function overridesRefused(model: string): MeshError {
  return new MeshError(
    'UNSUPPORTED',
    `load of model "${model}" takes no configuration and no files: only models of MILLRACE_MODEL_REPOSITORY do; put the file where the registry's models are and apply its definition`,
    { model },
  );
}

/** The registry's models and those of a folder; a name is in one of them. */
export function joinRepositories(
  registry: Repository,
  disk: Repository,
  isOnDisk: (name: string) => boolean,
): Repository {
  return {
    index: (readyOnly) => [...registry.index(readyOnly), ...disk.index(readyOnly)],
    load: (name, overrides) => (isOnDisk(name) ? disk : registry).load(name, overrides),
    unload: (name) => (isOnDisk(name) ? disk : registry).unload(name),
  };
}
