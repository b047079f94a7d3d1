import type { definitions } from '@millrace/contracts';
import type { RegistrySnapshot } from '@millrace/registry';
import { allows, compatibilityRule, type SchemaDelta, schemaDeltas } from '@millrace/sources';
import type { Catalog } from './catalog.ts';
import type { PlannedChange, SchemaChange } from './planned-change.ts';
import { label } from './problem.ts';
import { validate } from './validate.ts';

/** An earlier version of a source. */
export interface SourceVersion {
  readonly version: string;
  readonly spec: definitions.Source;
}

const changesMax = 100;
const affectedMax = 1_000;

/**
 * How a source's schema changes against its last version, and under a transitive compatibility against every earlier one, with what uses each
 * field. A change is breaking when the compatibility does not allow it or a view that uses the field cannot be made any more.
 */
export function schemaChangesOf(
  { kind, action, name, definition, oldVersion }: PlannedChange,
  earlier: readonly SourceVersion[],
  current: RegistrySnapshot,
  after: Catalog,
): SchemaChange[] {
  const source = definition?.spec;
  const before = current.sources.get(name)?.spec;
  if (kind !== 'source' || action !== 'CHANGED' || source?.$case !== 'source' || before === undefined) return [];
  const rule = compatibilityRule(source.value.compatibility);
  const versions = [{ version: oldVersion, spec: before }, ...(rule.transitive ? earlier : [])];
  const seen = new Set<string>();
  const changes: SchemaChange[] = [];
  for (const { version, spec } of versions) {
    for (const delta of schemaDeltas(spec, source.value)) {
      const allowed = allows(rule, delta);
      // of earlier versions only what is not allowed is news
      if (seen.has(`${delta.field}: ${delta.what}`) || (version !== oldVersion && allowed)) continue;
      seen.add(`${delta.field}: ${delta.what}`);
      const { affectsValues, ...rest } = delta;
      const { affected, broken } = usersOf(name, delta, current, after);
      const impact = !allowed || broken ? 'BREAKING' : affected.length > 0 && affectsValues ? 'NEEDS_BACKFILL' : 'SAFE';
      changes.push({
        ...rest,
        impact,
        against: version,
        allowed,
        rule: rule.name,
        affected: affected.slice(0, affectedMax),
      });
    }
  }
  return changes.slice(0, changesMax);
}

/** The views that use a field, the services that read those, the models that are fed by them, and the models that find outcomes by it. */
function usersOf(source: string, { field }: SchemaDelta, current: RegistrySnapshot, after: Catalog) {
  const affected: string[] = [];
  const views = new Set<string>();
  let broken = false;
  for (const { name, version, spec } of current.views.values()) {
    const uses =
      spec.source === source &&
      current.resolvedViews.get(`${name}@${version}`)?.fields.some((used) => used.name === field);
    if (!uses) continue;
    views.add(name);
    affected.push(label('feature_view', name));
    broken ||= !stillMade(name, after);
  }
  affected.push(...consumersOf(views, current));
  for (const { name, spec } of current.models.values()) {
    const { outcome } = spec;
    if (outcome?.source !== source || (outcome.keyField !== field && outcome.labelField !== field)) continue;
    affected.push(label('model', name));
    broken ||= !after.source(source)?.fields.some((there) => there.name === field);
  }
  return { affected: [...new Set(affected)], broken };
}

/** Feature services that read one of the views, and models that are fed by those. */
export function consumersOf(views: ReadonlySet<string>, current: RegistrySnapshot): string[] {
  const services = [...current.services.values()].filter(({ spec }) =>
    spec.features.some(({ view }) => views.has(view)),
  );
  const names = new Set(services.map(({ name }) => name));
  const models = [...current.models.values()].filter(({ spec }) => names.has(spec.featureService));
  return [
    ...services.map(({ name }) => label('feature_service', name)),
    ...models.map(({ name }) => label('model', name)),
  ];
}

function stillMade(name: string, after: Catalog): boolean {
  const spec = after.featureView(name);
  // removed in the same set: nothing is left to break
  if (!spec) return true;
  const definition = { name, metadata: undefined, file: '', spec: { $case: 'featureView', value: spec } } as const;
  return validate([definition], after).length === 0;
}
