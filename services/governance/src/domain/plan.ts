import type { definitions } from '@millrace/contracts';
import type { ViewDefinition } from '@millrace/features';
import { canonicalJson, contentVersion } from '@millrace/kernel';
import { type Kind, kindOfSpec, type Manifest, type RegistrySnapshot, resolveView } from '@millrace/registry';
import { changesChanged, retiredFields } from '@millrace/sources';
import { breaksOf } from './breaks.ts';
import { type Catalog, catalogOf } from './catalog.ts';
import { differences } from './differences.ts';
import { pinProblems } from './pins.ts';
import type { Action, PlannedChange } from './planned-change.ts';
import { labelOf, type Problem } from './problem.ts';
import { consumersOf, type SourceVersion, schemaChangesOf } from './schema-changes.ts';
import { validate } from './validate.ts';
import { valueAffecting } from './value-affecting.ts';

export interface Plan {
  readonly changes: readonly PlannedChange[];
  readonly problems: readonly Problem[];
}

type Spec = NonNullable<definitions.Definition['spec']>;

/** In the order in which they refer to each other: a reference is resolved before what refers to it. */
const order: readonly Kind[] = ['entity', 'source', 'feature_view', 'feature_service', 'model', 'deployment'];

export function makePlan(
  current: RegistrySnapshot,
  manifest: Manifest,
  set: readonly definitions.Definition[],
  removals: readonly string[],
  /** Of sources whose compatibility is transitive: their earlier versions. */
  earlier: ReadonlyMap<string, readonly SourceVersion[]> = new Map(),
): Plan {
  const removed = new Set(removals.map((path) => path.replace(':', '/')));
  const problems = removalProblems(removed, manifest, set);
  const first = catalogOf(current, set, removed);
  problems.push(...validate(set, first), ...set.flatMap((definition) => changesProblem(definition, current)));
  if (problems.length > 0) return { changes: [], problems };
  const cascade = cascaded(current, set, first, removed);
  problems.push(...cascade.problems);
  const whole = [...set, ...cascade.views];
  const catalog = catalogOf(current, whole, removed);
  const versions = new Map(Object.entries(manifest).map(([path, { version }]) => [path, version]));
  const sorted = whole.toSorted((a, b) => rank(a) - rank(b));
  const changes = sorted.flatMap((definition) =>
    definition.spec ? [changeOf(definition, definition.spec, { current, manifest }, catalog, versions)] : [],
  );
  problems.push(...pinProblems(set, manifest, versions));
  for (const path of removed) {
    const [kind, name] = path.split('/') as [Kind, string];
    changes.push({
      kind,
      name,
      action: 'REMOVED',
      oldVersion: manifest[path]?.version ?? '',
      newVersion: '',
      differences: [],
      needsBackfill: false,
      breaks: [],
    });
  }
  const withBreaks = changes.map((change) => ({
    ...change,
    breaks: breaksOf(change, current, catalog),
    schemaChanges: schemaChangesOf(change, earlier.get(change.name) ?? [], current, catalog),
  }));
  return { changes: withBreaks, problems };
}

function rank({ spec }: definitions.Definition): number {
  return spec ? order.indexOf(kindOfSpec(spec)) : order.length;
}

function changesProblem(definition: definitions.Definition, current: RegistrySnapshot): Problem[] {
  const before = current.sources.get(definition.name)?.spec;
  if (definition.spec?.$case !== 'source' || before === undefined) return [];
  const wrong = changesChanged(before, definition.spec.value);
  if (wrong === undefined) return [];
  return [{ file: definition.file, definition: labelOf(definition), field: wrong.path, message: wrong.problem }];
}

function removalProblems(
  removed: ReadonlySet<string>,
  manifest: Manifest,
  set: readonly definitions.Definition[],
): Problem[] {
  const missing = [...removed]
    .filter((path) => !Object.hasOwn(manifest, path))
    .map((path) => ({
      file: '',
      definition: path,
      field: 'removals',
      message: `there is no "${path}" to remove; write <kind>/<name>, as feature_view/spend`,
    }));
  const defined = set.flatMap((definition) => {
    const path = definition.spec ? `${kindOfSpec(definition.spec)}/${definition.name}` : '';
    const message = `"${path}" is defined and removed in one set; do one of them`;
    return removed.has(path)
      ? [{ file: definition.file, definition: labelOf(definition), field: 'removals', message }]
      : [];
  });
  return [...missing, ...defined];
}

/** Views outside the set whose entity or source changes under them: they get a new version in the same apply. */
function cascaded(
  current: RegistrySnapshot,
  set: readonly definitions.Definition[],
  catalog: Catalog,
  removed: ReadonlySet<string>,
): { views: definitions.Definition[]; problems: Problem[] } {
  const views: definitions.Definition[] = [];
  const problems: Problem[] = [];
  for (const [name, { spec, version, metadata }] of current.views) {
    if (catalog.isNew('feature_view', name) || removed.has(`feature_view/${name}`)) continue;
    const entity = catalog.entity(spec.entity);
    const source = catalog.source(spec.source);
    // what it refers to is removed: breaksOf says so
    if (!entity || !source || resolveView(name, spec, entity, source).version === version) continue;
    const definition = {
      name,
      metadata,
      file: '',
      spec: { $case: 'featureView', value: spec },
    } satisfies definitions.Definition;
    const cause = set.find(
      ({ spec: changed, name: changedName }) =>
        (changed?.$case === 'source' && changedName === spec.source) ||
        (changed?.$case === 'entity' && changedName === spec.entity),
    );
    const broken = validate([definition], catalog);
    const users = consumersOf(new Set([name]), current);
    const read = users.length === 0 ? '' : `; it is read by ${users.slice(0, 20).join(', ')}`;
    problems.push(
      ...broken.map((problem) => ({ ...problem, message: `${problem.message}${read}`, file: cause?.file ?? '' })),
    );
    if (broken.length === 0) views.push(definition);
  }
  return { views, problems };
}

function changeOf(
  given: definitions.Definition,
  spec: Spec,
  before: Before,
  catalog: Catalog,
  versions: Map<string, string>,
): PlannedChange {
  const kind = kindOfSpec(spec);
  const path = `${kind}/${given.name}`;
  const resolvedSpec = withRetired(given.name, pinned(spec, versions), before.current);
  const definition = { ...given, spec: resolvedSpec };
  const resolved = spec.$case === 'featureView' ? resolvedViewOf(given.name, spec.value, catalog) : undefined;
  const newVersion = resolved?.version ?? contentVersion(valueAffecting(resolvedSpec));
  versions.set(path, newVersion);
  const entry = before.manifest[path];
  const { owner = '', description = '', tags = new Map<string, string>() } = given.metadata ?? {};
  const sameMetadata =
    entry !== undefined &&
    (entry.text === undefined || entry.text === textOf(definition)) &&
    canonicalJson([entry.owner, entry.description, entry.tags]) ===
      canonicalJson([owner, description, Object.fromEntries(tags)]);
  const action: Action =
    entry === undefined
      ? 'ADDED'
      : entry.version !== newVersion
        ? 'CHANGED'
        : sameMetadata
          ? 'UNCHANGED'
          : 'METADATA_CHANGED';
  return {
    kind,
    name: given.name,
    action,
    oldVersion: entry?.version ?? '',
    newVersion,
    differences:
      action === 'CHANGED'
        ? differences(specBefore(before.current, spec.$case, given.name), valueAffecting(resolvedSpec).value)
        : [],
    needsBackfill: kind === 'feature_view' && (action === 'ADDED' || action === 'CHANGED'),
    breaks: [],
    definition,
    ...(resolved ? { resolved } : {}),
  };
}

interface Before {
  readonly current: RegistrySnapshot;
  readonly manifest: Manifest;
}

function specBefore(current: RegistrySnapshot, kind: Spec['$case'], name: string): unknown {
  const maps = {
    entity: current.entities,
    source: current.sources,
    featureView: current.views,
    featureService: current.services,
    model: current.models,
    deployment: current.deployments,
  } as const;
  const value = maps[kind].get(name)?.spec;
  return value === undefined ? undefined : valueAffecting({ $case: kind, value } as Spec).value;
}

function resolvedViewOf(name: string, view: definitions.FeatureView, catalog: Catalog): ViewDefinition | undefined {
  const entity = catalog.entity(view.entity);
  const source = catalog.source(view.source);
  return entity && source ? resolveView(name, view, entity, source) : undefined;
}

/** A source drops what earlier versions had and older publishers may still send. */
function withRetired(name: string, spec: Spec, current: RegistrySnapshot): Spec {
  if (spec.$case !== 'source') return spec;
  const retired = retiredFields(current.sources.get(name)?.spec, spec.value);
  return { $case: 'source', value: { ...spec.value, retiredFields: retired } };
}

/** References without a version get the one that is current after the change. */
function pinned(spec: Spec, versions: ReadonlyMap<string, string>): Spec {
  if (spec.$case === 'featureService') {
    const features = spec.value.features.map((reference) => ({
      ...reference,
      viewVersion: reference.viewVersion || (versions.get(`feature_view/${reference.view}`) ?? ''),
    }));
    return { $case: 'featureService', value: { ...spec.value, features } };
  }
  if (spec.$case === 'deployment') {
    const pin = (target: definitions.DeploymentTarget) => ({
      ...target,
      modelVersion: target.modelVersion || (versions.get(`model/${target.model}`) ?? ''),
    });
    const rules = spec.value.rules.map((rule) => ({ ...rule, targets: rule.targets.map(pin) }));
    return { $case: 'deployment', value: { ...spec.value, targets: spec.value.targets.map(pin), rules } };
  }
  return spec;
}

/** The hash of everything in a definition's spec. */
export function textOf({ spec }: definitions.Definition): string {
  return contentVersion(spec);
}
