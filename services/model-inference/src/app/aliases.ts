import { MeshError } from '@millrace/kernel';
import {
  type Alias,
  type AliasAuthor,
  type AliasChange,
  type AliasRecord,
  aliasOf,
  checkAliasName,
  noAliases,
  rolledBack,
  withAliases,
  withoutAlias,
} from '../domain/alias-record.ts';

/** Where the aliases of all processes are kept. */
export interface AliasStore {
  /** What is known here now. */
  records(): ReadonlyMap<string, AliasRecord>;
  /** Called after each change, of whichever process. */
  onChange(listener: () => void): () => void;
  /**
   * Replaces a model's record by what `change` makes of the newest one, known here when it resolves; undefined changes nothing.
   * STORE_UNAVAILABLE; CONCURRENT_CHANGE after several tries.
   */
  move(model: string, change: (before: AliasRecord) => AliasRecord | undefined): Promise<AliasRecord>;
  audit(change: AliasChange): Promise<void>;
}

export interface AliasDeps {
  readonly store: AliasStore;
  readonly nowUs: () => number;
  /** The version that is current; undefined when there is no such model. */
  readonly currentVersion: (model: string) => string | undefined;
  /** Serves the version until `done`, and resolves when it is ready: UNKNOWN_MODEL, MODEL_LOAD_FAILED. */
  readonly prepare: (model: string, version: string) => Promise<{ done(): void }>;
}

export type AliasRequest = { readonly by: string; readonly reason: string };

/** Names that point to versions of models: `champion`, `challenger`. */
export interface Aliases {
  /** Every version is loaded here before any alias moves. INVALID_ARGUMENT, UNKNOWN_MODEL, UNKNOWN_ALIAS, MODEL_LOAD_FAILED. */
  set(model: string, targets: readonly (readonly [string, string])[], request: AliasRequest): Promise<AliasRecord>;
  rollback(model: string, alias: string, request: AliasRequest): Promise<AliasRecord>;
  remove(model: string, alias: string, request: AliasRequest): Promise<AliasRecord>;
  /** UNKNOWN_MODEL when there is neither such a model nor a record of it. */
  record(model: string): AliasRecord;
  all(): readonly AliasRecord[];
  find(model: string, alias: string): Alias | undefined;
  /** What must be loaded: where aliases point, and where a rollback would go. */
  wanted(): readonly { readonly model: string; readonly version: string }[];
}

const targetsMax = 32;

export function createAliases({ store, nowUs, currentVersion, prepare }: AliasDeps): Aliases {
  const recordOf = (model: string) => store.records().get(model) ?? noAliases(model);
  const authorOf = ({ by, reason }: AliasRequest): AliasAuthor => ({ by: by || 'unknown', reason, nowUs: nowUs() });

  async function move(model: string, change: (before: AliasRecord) => AliasRecord | undefined): Promise<AliasRecord> {
    let isMoved = false;
    const record = await store.move(model, (before) => {
      const after = change(before);
      isMoved = after !== undefined;
      return after;
    });
    const last = record.changes.at(-1);
    if (isMoved && last) await store.audit(last);
    return record;
  }

  function versionOf(model: string, wanted: string): string {
    if (wanted.startsWith('@')) {
      const alias = aliasOf(recordOf(model), wanted.slice(1));
      if (alias) return alias.versions.at(-1) ?? '';
      throw unknownAlias(model, wanted.slice(1), recordOf(model));
    }
    const version = wanted === '' ? currentVersion(model) : wanted;
    if (version === undefined) throw unknownModel(model);
    return version;
  }

  return {
    async set(model, targets, request) {
      if (targets.length === 0 || targets.length > targetsMax)
        throw new MeshError('INVALID_ARGUMENT', `${targets.length} aliases given; give 1 to ${targetsMax}`, { model });
      const wanted = new Map<string, string>();
      for (const [alias, version] of targets) {
        checkAliasName(alias);
        if (wanted.has(alias))
          throw new MeshError('INVALID_ARGUMENT', `alias "${alias}" is given twice; once is enough`, { model, alias });
        wanted.set(alias, versionOf(model, version));
      }
      const prepared: { done(): void }[] = [];
      try {
        for (const version of new Set(wanted.values())) prepared.push(await prepare(model, version));
        return await move(model, (before) => withAliases(before, wanted, authorOf(request)));
      } finally {
        for (const one of prepared) one.done();
      }
    },
    async rollback(model, alias, request) {
      const before = aliasOf(recordOf(model), alias)?.versions.at(-2);
      const prepared = before === undefined ? undefined : await prepare(model, before);
      try {
        return await move(model, (record) => rolledBack(record, alias, authorOf(request)));
      } finally {
        prepared?.done();
      }
    },
    remove: (model, alias, request) => move(model, (before) => withoutAlias(before, alias, authorOf(request))),
    record(model) {
      if (!store.records().has(model) && currentVersion(model) === undefined) throw unknownModel(model);
      return recordOf(model);
    },
    all: () => [...store.records().values()].toSorted((a, b) => (a.model < b.model ? -1 : 1)),
    find: (model, alias) => aliasOf(recordOf(model), alias),
    wanted: () =>
      [...store.records().values()].flatMap(({ model, aliases }) =>
        Object.values(aliases).flatMap(({ versions }) => versions.slice(-2).map((version) => ({ model, version }))),
      ),
  };
}

function unknownAlias(model: string, alias: string, { aliases }: AliasRecord): MeshError {
  return new MeshError(
    'UNKNOWN_ALIAS',
    `model "${model}" has no alias "${alias}"; aliases: ${Object.keys(aliases).join(', ') || 'none yet'}`,
    { model, alias },
  );
}

function unknownModel(model: string): MeshError {
  return new MeshError('UNKNOWN_MODEL', `there is no model "${model}"; apply its definition first`, { model });
}
