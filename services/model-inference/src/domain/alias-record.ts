import { MeshError } from '@millrace/kernel';

/** One alias moved; '' is nowhere. */
export interface AliasMove {
  readonly alias: string;
  readonly from: string;
  readonly to: string;
}

/** A change of a model's aliases: all its moves at once. */
export interface AliasChange {
  readonly model: string;
  readonly changedUs: number;
  readonly by: string;
  readonly action: 'set' | 'rollback' | 'delete';
  readonly reason: string;
  readonly moves: readonly AliasMove[];
}

/** Where an alias points, and where it pointed: the last of `versions` is where it does. */
export interface Alias {
  readonly versions: readonly string[];
  readonly changedUs: number;
  readonly by: string;
}

/** The aliases of one model and their history; replaced as a whole. */
export interface AliasRecord {
  readonly model: string;
  readonly aliases: Readonly<Record<string, Alias>>;
  /** The oldest first. */
  readonly changes: readonly AliasChange[];
}

/** Who changes an alias, when and why. */
export interface AliasAuthor {
  readonly by: string;
  readonly reason: string;
  readonly nowUs: number;
}

const aliasesMax = 32;
const changesMax = 200;
/** Versions that an alias can be rolled back through. */
const versionsMax = 100;
const aliasName = /^[a-z][a-z0-9_-]{0,62}$/;
/** Of a definition. */
const versionName = /^[0-9a-f]{12}$/;

export function noAliases(model: string): AliasRecord {
  return { model, aliases: {}, changes: [] };
}

export function aliasOf(record: AliasRecord, alias: string): Alias | undefined {
  return Object.hasOwn(record.aliases, alias) ? record.aliases[alias] : undefined;
}

/** INVALID_ARGUMENT says what a name may be. */
export function checkAliasName(alias: string): void {
  if (aliasName.test(alias) && !versionName.test(alias)) return;
  throw new MeshError(
    'INVALID_ARGUMENT',
    `"${alias}" is no name of an alias; use [a-z][a-z0-9_-]*, at most 63 characters, that does not look like a version`,
    { alias },
  );
}

/** Points aliases to versions, which are there; undefined when they point there already. */
export function withAliases(
  record: AliasRecord,
  targets: ReadonlyMap<string, string>,
  author: AliasAuthor,
): AliasRecord | undefined {
  for (const alias of targets.keys()) checkAliasName(alias);
  const moves = [...targets].flatMap(([alias, to]) => {
    const from = aliasOf(record, alias)?.versions.at(-1) ?? '';
    return from === to ? [] : [{ alias, from, to }];
  });
  if (moves.length === 0) return undefined;
  const aliases = { ...record.aliases };
  for (const { alias, to } of moves) {
    const versions = [...(aliasOf(record, alias)?.versions ?? []), to].slice(-versionsMax);
    aliases[alias] = { versions, changedUs: author.nowUs, by: author.by };
  }
  const count = Object.keys(aliases).length;
  if (count > aliasesMax)
    throw new MeshError(
      'LIMIT_EXCEEDED',
      `${count} aliases of model "${record.model}" are over the limit of ${aliasesMax}; delete one: millrace model alias delete ${record.model}@<alias>`,
      { model: record.model, aliases: count, limit: aliasesMax },
    );
  return changed(record, aliases, 'set', moves, author);
}

/** Back to where the alias pointed before; again, and it goes further back. UNKNOWN_ALIAS, INVALID_ARGUMENT when there is nothing before. */
export function rolledBack(record: AliasRecord, alias: string, author: AliasAuthor): AliasRecord {
  const { versions } = mustHave(record, alias);
  const [to, from = ''] = versions.slice(-2);
  if (to === undefined || versions.length < 2)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `alias "${alias}" of model "${record.model}" has never pointed elsewhere than to ${versions.at(-1)}; set it: millrace model alias set ${record.model}@${alias} <version>`,
      { model: record.model, alias },
    );
  const aliases = {
    ...record.aliases,
    [alias]: { versions: versions.slice(0, -1), changedUs: author.nowUs, by: author.by },
  };
  return changed(record, aliases, 'rollback', [{ alias, from, to }], author);
}

/** UNKNOWN_ALIAS when it is not there. */
export function withoutAlias(record: AliasRecord, alias: string, author: AliasAuthor): AliasRecord {
  const from = mustHave(record, alias).versions.at(-1) ?? '';
  const { [alias]: _gone, ...aliases } = record.aliases;
  return changed(record, aliases, 'delete', [{ alias, from, to: '' }], author);
}

function mustHave(record: AliasRecord, alias: string): Alias {
  const found = aliasOf(record, alias);
  if (found) return found;
  throw new MeshError(
    'UNKNOWN_ALIAS',
    `model "${record.model}" has no alias "${alias}"; aliases: ${Object.keys(record.aliases).join(', ') || 'none yet'}`,
    { model: record.model, alias },
  );
}

function changed(
  record: AliasRecord,
  aliases: AliasRecord['aliases'],
  action: AliasChange['action'],
  moves: readonly AliasMove[],
  { by, reason, nowUs }: AliasAuthor,
): AliasRecord {
  const change: AliasChange = { model: record.model, changedUs: nowUs, by, action, reason, moves };
  return { model: record.model, aliases, changes: [...record.changes, change].slice(-changesMax) };
}
