import type { definitions } from '@millrace/contracts';
import type { ViewDefinition } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { Kind, Manifest, ManifestEntry, Registered, RegistrySnapshot } from '@millrace/registry';
import { compatibilityRule } from '@millrace/sources';
import { makePlan, type Plan, textOf } from '../domain/plan.ts';
import type { PlannedChange } from '../domain/planned-change.ts';
import type { SourceVersion } from '../domain/schema-changes.ts';

/** Where definitions are kept. */
export interface DefinitionStore {
  /** What is current, read afresh. */
  read(): Promise<{ readonly snapshot: RegistrySnapshot; readonly manifest: Manifest; readonly revision: number }>;
  keep(kind: Kind, definition: definitions.Definition, version: string): Promise<void>;
  keepView(view: ViewDefinition): Promise<void>;
  /** CONCURRENT_CHANGE when the registry has moved from `expected`. */
  move(manifest: Manifest, expected: number): Promise<number>;
  get(kind: Kind, name: string, version: string): Promise<Registered<unknown> | undefined>;
}

export interface Registry {
  plan(set: readonly definitions.Definition[], removals: readonly string[]): Promise<Plan>;
  /** INVALID_DEFINITION with every problem; BREAKS_CONSUMERS; CONCURRENT_CHANGE after several tries; OVERLOADED. */
  apply(
    set: readonly definitions.Definition[],
    removals: readonly string[],
    allowBreaking: boolean,
  ): Promise<{ readonly changes: readonly PlannedChange[]; readonly revision: number }>;
  read: DefinitionStore['read'];
  get: DefinitionStore['get'];
}

const setMax = 10_000;
const versionsKept = 100;
const triesMax = 5;
const appliesWaitingMax = 100;

export function createRegistry(deps: { readonly store: DefinitionStore; readonly nowUs: () => number }): Registry {
  const { store } = deps;

  async function planned(set: readonly definitions.Definition[], removals: readonly string[]) {
    if (set.length + removals.length > setMax) {
      throw new MeshError(
        'LIMIT_EXCEEDED',
        `${set.length + removals.length} definitions are over the limit of ${setMax} in one set`,
        { definitions: set.length + removals.length, limit: setMax },
      );
    }
    const before = await store.read();
    const earlier = await earlierVersions(set, before.manifest);
    return { before, plan: makePlan(before.snapshot, before.manifest, set, removals, earlier) };
  }

  /** Every version that a source of a transitive compatibility ever had, but for the current one. */
  async function earlierVersions(set: readonly definitions.Definition[], manifest: Manifest) {
    const found = new Map<string, readonly SourceVersion[]>();
    for (const { name, spec } of set) {
      if (spec?.$case !== 'source' || !compatibilityRule(spec.value.compatibility).transitive) continue;
      const versions = manifest[`source/${name}`]?.previousVersions ?? [];
      const kept = await Promise.all(versions.map((version) => store.get('source', name, version)));
      found.set(
        name,
        kept.flatMap((registered, at) =>
          registered ? [{ version: versions[at] ?? '', spec: sourceSpec(registered.spec) }] : [],
        ),
      );
    }
    return found;
  }

  async function applyOnce(
    set: readonly definitions.Definition[],
    removals: readonly string[],
    allowBreaking: boolean,
  ) {
    const { before, plan } = await planned(set, removals);
    refuse(plan, allowBreaking);
    const moving = plan.changes.filter(({ action }) => action !== 'UNCHANGED');
    if (moving.length === 0) return { changes: plan.changes, revision: before.revision };
    // objects first: they are not current until the manifest names them
    await Promise.all(
      moving.map(async ({ kind, newVersion, definition, resolved }) => {
        if (definition) await store.keep(kind, definition, newVersion);
        if (resolved) await store.keepView(resolved);
      }),
    );
    const revision = await store.move(nextManifest(before.manifest, moving, deps.nowUs()), before.revision);
    return { changes: plan.changes, revision };
  }

  async function applyUntilFirst(...change: Parameters<typeof applyOnce>) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await applyOnce(...change);
      } catch (error) {
        const again = error instanceof MeshError && error.reason === 'CONCURRENT_CHANGE' && attempt < triesMax;
        if (!again) throw error;
      }
    }
  }

  let waiting = 0;
  let latest: Promise<unknown> = Promise.resolve();

  return {
    plan: async (set, removals) => (await planned(set, removals)).plan,
    // one after the other, so that only another process overtakes: side by side, 18 of 24 at once ran out of tries
    async apply(...change) {
      if (waiting >= appliesWaitingMax) {
        throw new MeshError(
          'OVERLOADED',
          `${waiting} applies are waiting, the limit; try again`,
          { waiting, limit: appliesWaitingMax },
          { retryAfterMs: 1_000 },
        );
      }
      waiting++;
      const applied = latest.then(() => applyUntilFirst(...change)).finally(() => waiting--);
      latest = applied.catch(() => undefined);
      return applied;
    },
    read: store.read,
    get: store.get,
  };
}

/** The store hands a spec out with its case around it. */
function sourceSpec(spec: unknown): definitions.Source {
  return (spec as { readonly value: definitions.Source }).value;
}

function refuse({ problems, changes }: Plan, allowBreaking: boolean): void {
  if (problems.length > 0) {
    const lines = problems.map(
      ({ file, definition, field, message }) => `${file || 'registry'}: ${definition}: ${field}: ${message}`,
    );
    throw new MeshError(
      'INVALID_DEFINITION',
      `${problems.length} problem${problems.length > 1 ? 's' : ''}, nothing was applied:\n${lines.join('\n')}`,
      { problems: problems.length },
    );
  }
  const incompatible = changes.flatMap(({ name, schemaChanges = [] }) =>
    schemaChanges
      .filter(({ allowed }) => !allowed)
      .map(({ field, what, rule, against, affected }) => {
        const users = affected.length === 0 ? '' : `; used by ${affected.slice(0, 20).join(', ')}`;
        return `source "${name}": field "${field}": ${what}: not ${rule} compatible with version ${against}${users}`;
      }),
  );
  if (incompatible.length > 0 && !allowBreaking) {
    throw new MeshError(
      'INCOMPATIBLE_SCHEMA',
      `nothing was applied, since a schema does not fit the compatibility of its source:\n${incompatible.join('\n')}\ngive added fields a default or make them nullable, set another compatibility, or allow breaking`,
      { changes: incompatible.length },
    );
  }
  const fatal = changes.flatMap(({ kind, name, breaks }) =>
    breaks.filter((broken) => broken.fatal).map(({ consumer, why }) => `${kind} "${name}": ${consumer} ${why}`),
  );
  if (fatal.length > 0 && !allowBreaking) {
    throw new MeshError(
      'BREAKS_CONSUMERS',
      `nothing was applied, since consumers would break:\n${fatal.join('\n')}\nchange them in the same set, or allow breaking`,
      { breaks: fatal.length },
    );
  }
}

function nextManifest(before: Manifest, changes: readonly PlannedChange[], nowUs: number): Manifest {
  const next: Record<string, ManifestEntry> = { ...before };
  for (const { kind, name, action, newVersion, definition } of changes) {
    const path = `${kind}/${name}`;
    const old = before[path];
    if (action === 'REMOVED' || !definition) {
      delete next[path];
      continue;
    }
    const { owner = '', description = '', tags = new Map<string, string>() } = definition.metadata ?? {};
    const sameVersion = old?.version === newVersion;
    next[path] = {
      version: newVersion,
      owner,
      description,
      tags: Object.fromEntries(tags),
      text: textOf(definition),
      file: definition.file,
      createdUs: sameVersion ? (old?.createdUs ?? nowUs) : nowUs,
      previousVersions:
        sameVersion || !old
          ? (old?.previousVersions ?? [])
          : [old.version, ...old.previousVersions.filter((version) => version !== newVersion)].slice(0, versionsKept),
    };
  }
  return next;
}
