import type { definitions } from '@millrace/contracts';
import type { ViewDefinition } from '@millrace/features';
import { type Kind, kindOfSpec, type RegistrySnapshot, resolveView } from '@millrace/registry';

type Spec = NonNullable<definitions.Definition['spec']>;
export type SpecOf<C extends Spec['$case']> = Extract<Spec, { readonly $case: C }>['value'];

/** What would be current after a change: the registry's definitions with those of the set in their place. */
export interface Catalog {
  entity(name: string): definitions.Entity | undefined;
  source(name: string): definitions.Source | undefined;
  featureView(name: string): definitions.FeatureView | undefined;
  /** A view with everything that its values depend on: as it would be current, or a version that the registry holds ready. */
  resolvedView(name: string, version: string): ViewDefinition | undefined;
  featureService(name: string): definitions.FeatureService | undefined;
  model(name: string): definitions.Model | undefined;
  deployment(name: string): definitions.Deployment | undefined;
  /** Every name of a kind, sorted. */
  names(kind: Kind): readonly string[];
  /** True when the set defines it. */
  isNew(kind: Kind, name: string): boolean;
}

export function catalogOf(
  current: RegistrySnapshot,
  set: readonly definitions.Definition[],
  removed: ReadonlySet<string>,
): Catalog {
  const byPath = new Map<string, Spec['value']>();
  const add = (kind: Kind, map: ReadonlyMap<string, { readonly spec: Spec['value'] }>) => {
    for (const [name, { spec }] of map) if (!removed.has(`${kind}/${name}`)) byPath.set(`${kind}/${name}`, spec);
  };
  add('entity', current.entities);
  add('source', current.sources);
  add('feature_view', current.views);
  add('feature_service', current.services);
  add('model', current.models);
  add('deployment', current.deployments);
  const fresh = new Set<string>();
  for (const { name, spec } of set) {
    if (!spec) continue;
    byPath.set(`${kindOfSpec(spec)}/${name}`, spec.value);
    fresh.add(`${kindOfSpec(spec)}/${name}`);
  }
  const find =
    <T>(kind: Kind) =>
    (name: string) =>
      byPath.get(`${kind}/${name}`) as T | undefined;
  const views = new Map<string, ViewDefinition | undefined>();
  /** Resolved once, however many references ask. */
  const resolvedView = (name: string): ViewDefinition | undefined => {
    if (!views.has(name)) {
      const spec = find<definitions.FeatureView>('feature_view')(name);
      const entity = find<definitions.Entity>('entity')(spec?.entity ?? '');
      const source = find<definitions.Source>('source')(spec?.source ?? '');
      views.set(name, spec && entity && source ? resolveView(name, spec, entity, source) : undefined);
    }
    return views.get(name);
  };
  return {
    entity: find('entity'),
    source: find('source'),
    featureView: find('feature_view'),
    resolvedView(name, version) {
      const view = resolvedView(name);
      return version === '' || view?.version === version ? view : current.resolvedViews.get(`${name}@${version}`);
    },
    featureService: find('feature_service'),
    model: find('model'),
    deployment: find('deployment'),
    names: (kind) =>
      [...byPath.keys()]
        .filter((path) => path.startsWith(`${kind}/`))
        .map((path) => path.slice(kind.length + 1))
        .sort(),
    isNew: (kind, name) => fresh.has(`${kind}/${name}`),
  };
}

/** ` known: a, b, c` for messages. */
export function known(catalog: Catalog, kind: Kind): string {
  const names = catalog.names(kind);
  return names.length === 0
    ? `there is no ${kind} yet`
    : `known: ${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}`;
}
