import { pathToFileURL } from 'node:url';
import { definitions, modelConfig } from '@millrace/contracts';
import { MeshError, toMeshError } from '@millrace/kernel';
import {
  chosenVersions,
  isModelName,
  type ListedModel,
  type LoadOverrides,
  missingVersions,
  modelFileOf,
} from '../domain/repository-layout.ts';
import { servingPlan } from '../domain/serving-plan.ts';
import { configOfJson, configOfText } from '../domain/triton/read-config.ts';
import type { DiskBook, DiskModel } from './disk-book.ts';
import type { Repository, RepositoryEntry } from './repository.ts';

/** The folder, and files that came with a load. */
export interface ModelFiles {
  list(): Promise<readonly ListedModel[]>;
  /** A copy of a file that stays as it is, and its SHA-256 in hex. */
  pin(path: string): Promise<{ readonly path: string; readonly sha256: string }>;
  /** Removes the copies of other digests. */
  prune(keep: ReadonlySet<string>): Promise<void>;
  warmupFile(model: ListedModel, name: string): Promise<Buffer>;
  /** Writes files, by `<version>/<name>`, and lists them as a model. */
  keep(name: string, files: ReadonlyMap<string, Uint8Array>): Promise<ListedModel>;
  /** Removes what was kept of the model, but for the folder of this path. */
  drop(name: string, kept: string | undefined): Promise<void>;
  /** Removes what a process before this one kept. */
  clear(): Promise<void>;
}

export interface DiskRepository extends Repository {
  /** Looks at the folder and brings the book to what is there; problems are in the index. */
  follow(): Promise<void>;
  isUnloaded(name: string): boolean;
}

interface Override {
  readonly config: modelConfig.ModelConfig;
  /** Undefined: the files of the folder. */
  readonly listed: ListedModel | undefined;
}

/** Models of a folder laid out as Triton's repositories are. */
export function createDiskRepository(deps: {
  readonly book: DiskBook;
  readonly files: ModelFiles;
  readonly workers: number;
  /** Who has the name elsewhere: `the registry has a model of this name`. */
  readonly taken: (name: string) => string | undefined;
  /** Of a model or, with '', of the folder; told when it is another than before. */
  readonly onProblem: (model: string, problem: MeshError) => void;
}): DiskRepository {
  const { book, files } = deps;
  const overrides = new Map<string, Override>();
  const unloaded = new Set<string>();
  let listed = new Map<string, ListedModel>();
  let problems = new Map<string, MeshError>();
  /** Of each model what is wanted now. */
  let wanted = new Map<string, readonly DiskModel[]>();
  let turn: Promise<void> = files.clear();

  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const done = turn.then(act);
    turn = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  };

  async function look(): Promise<void> {
    const found = new Map<string, MeshError>();
    try {
      listed = new Map((await files.list()).map((model) => [model.name, model]));
    } catch (thrown) {
      // what is served goes on
      tell(new Map([['', toMeshError(thrown, 'the model repository cannot be read')]]));
      return;
    }
    for (const [name, { listed: kept }] of overrides) if (kept) listed.set(name, kept);
    const next = new Map<string, readonly DiskModel[]>();
    for (const model of listed.values()) {
      const { name } = model;
      const owner = deps.taken(name);
      if (owner !== undefined)
        found.set(
          name,
          new MeshError(
            'MODEL_LOAD_FAILED',
            `model "${name}" of the model repository is not served: ${owner}; rename its folder`,
            { model: name },
          ),
        );
      if (owner !== undefined || unloaded.has(name)) continue;
      try {
        next.set(name, await versionsOf(model));
      } catch (thrown) {
        found.set(name, toMeshError(thrown));
        // what is served goes on beside what cannot be read
        next.set(name, wanted.get(name) ?? []);
      }
    }
    wanted = next;
    tell(found);
    const models = [...next.values()].flat();
    book.put(models);
    await files.prune(new Set([...models, ...book.all()].map(({ spec }) => spec.sha256)));
  }

  function tell(found: ReadonlyMap<string, MeshError>): void {
    for (const [name, problem] of found)
      if (problems.get(name)?.message !== problem.message) deps.onProblem(name, problem);
    problems = new Map(found);
  }

  async function versionsOf(model: ListedModel): Promise<readonly DiskModel[]> {
    const { name } = model;
    const override = overrides.get(name);
    const config = override?.config ?? (model.config === undefined ? undefined : configOfText(model.config));
    const available = model.versions.map(({ version }) => version);
    const fail = (message: string) =>
      new MeshError('MODEL_LOAD_FAILED', `model "${name}": ${message}`, { model: name });
    if (available.length === 0) throw fail('its folder has no version; put the file into a folder that is called 1');
    const missing = missingVersions(config?.versionPolicy, available);
    if (missing.length > 0)
      throw fail(`version_policy names ${missing.join(', ')}, and there are ${available.join(', ')}`);
    const chosen = chosenVersions(config?.versionPolicy, available);
    const ofConfig = config ? Buffer.from(modelConfig.ModelConfig.encode(config).finish()).toString('base64') : '';
    return Promise.all(
      model.versions
        .filter(({ version }) => chosen.includes(version))
        .map(async (version): Promise<DiskModel> => {
          const { file, format } = modelFileOf(name, version, config?.defaultModelFilename ?? '');
          const { path, sha256 } = await files.pin(`${version.dir}/${file}`);
          return {
            name,
            version: String(version.version),
            spec: definitions.Model.fromPartial({ uri: pathToFileURL(path).href, sha256, format }),
            digest: `${sha256} ${ofConfig}`,
            plan: config && servingPlan(config, { name, format, workers: deps.workers }),
            warmupFile: (data) => files.warmupFile(model, data),
          };
        }),
    );
  }

  function entriesOf(model: ListedModel): readonly RepositoryEntry[] {
    const { name } = model;
    const problem = problems.get(name);
    const versions = model.versions.toSorted((a, b) => a.version - b.version);
    if (versions.length === 0)
      return [{ name, version: '', state: 'UNAVAILABLE', reason: problem?.message ?? 'its folder has no version' }];
    return versions.map(({ version }) => ({
      name,
      version: String(version),
      ...stateOf(name, String(version), problem),
    }));
  }

  function stateOf(
    name: string,
    version: string,
    problem: MeshError | undefined,
  ): Pick<RepositoryEntry, 'state' | 'reason'> {
    if (unloaded.has(name)) return { state: 'UNAVAILABLE', reason: 'unloaded' };
    const booked = book.all().find((model) => model.name === name && model.version === version);
    if (!booked) return { state: 'UNAVAILABLE', reason: problem?.message ?? 'not wanted by the version policy' };
    const { state } = booked;
    if (state.t === 'failed') return { state: 'UNAVAILABLE', reason: state.cause.message };
    if (state.t === 'loading') return { state: 'LOADING', reason: '' };
    const serves = `serves sha256:${booked.spec.sha256.slice(0, 12)}`;
    const late = problem ?? book.problem(name, version);
    return { state: 'READY', reason: late ? `${serves}; what is there now is not: ${late.message}` : serves };
  }

  async function override(name: string, given: LoadOverrides | undefined): Promise<void> {
    if (!given) {
      overrides.delete(name);
      return;
    }
    const config = given.config === undefined ? undefined : configOfJson(given.config);
    if (!config) return;
    overrides.set(name, { config, listed: given.files.size > 0 ? await files.keep(name, given.files) : undefined });
  }

  const keptOf = (name: string) => overrides.get(name)?.listed?.versions[0]?.dir;

  return {
    follow: () => inTurn(look),
    isUnloaded: (name) => unloaded.has(name),
    index(readyOnly) {
      const entries = [...listed.values()].flatMap(entriesOf);
      const gone = [...unloaded].filter((name) => !listed.has(name));
      const all = [
        ...entries,
        ...gone.map((name) => ({ name, version: '', state: 'UNAVAILABLE' as const, reason: 'unloaded' })),
      ];
      return readyOnly ? all.filter(({ state }) => state === 'READY') : all;
    },
    async load(name, given) {
      if (!isModelName(name))
        throw new MeshError('INVALID_ARGUMENT', `"${name}" cannot be a model's name`, { model: name });
      const before = overrides.get(name);
      const wasUnloaded = unloaded.has(name);
      const problem = await inTurn(async () => {
        await override(name, given);
        unloaded.delete(name);
        await look();
        book.retry(name);
        if (!listed.has(name)) {
          if (wasUnloaded) unloaded.add(name);
          book.ready(name, '');
        }
        return problems.get(name);
      });
      await book.settle(name);
      const failure = problem ?? failureOf(name);
      if (failure && given) {
        // what was served before goes on, and is what is wanted
        await inTurn(async () => {
          if (before) overrides.set(name, before);
          else overrides.delete(name);
          await look();
        });
      }
      await inTurn(() => files.drop(name, keptOf(name)));
      if (failure) throw failure;
    },
    unload: (name) =>
      inTurn(async () => {
        await look();
        if (!listed.has(name) && !book.has(name)) book.ready(name, '');
        unloaded.add(name);
        overrides.delete(name);
        await look();
        await files.drop(name, undefined);
      }),
  };

  function failureOf(name: string): MeshError | undefined {
    for (const { version } of wanted.get(name) ?? []) {
      const failed = book
        .all()
        .find((model) => model.name === name && model.version === version && model.state.t === 'failed');
      if (failed?.state.t === 'failed') return failed.state.cause;
      const late = book.problem(name, version);
      if (late) return late;
    }
    return undefined;
  }
}
