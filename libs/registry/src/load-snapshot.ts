import type { definitions } from '@millrace/contracts';
import type { ViewDefinition } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { Kind } from './kinds.ts';
import type { Registered, RegistrySnapshot } from './snapshot.ts';
import type { Head, ManifestEntry, RegistryStore } from './store.ts';

/** An object is read once for each text that the manifest gives it. */
export interface SnapshotLoader {
  load(head: Head): Promise<RegistrySnapshot>;
  /** Any version of a view that was ever applied. */
  resolved(name: string, version: string): Promise<ViewDefinition | undefined>;
}

type Spec = NonNullable<definitions.Definition['spec']>;

export function createSnapshotLoader(store: RegistryStore): SnapshotLoader {
  const objects = new Map<string, definitions.Definition>();
  const views = new Map<string, ViewDefinition>();

  async function object(
    kind: Kind,
    name: string,
    { version, text = '' }: ManifestEntry,
  ): Promise<definitions.Definition> {
    const key = `${kind}/${name}@${version}/${text}`;
    const known = objects.get(key) ?? (await store.object(kind, name, version));
    if (!known)
      throw new MeshError(
        'CORRUPT_DATA',
        `the registry names ${kind} "${name}" of version "${version}" and does not have it`,
        { kind, name, version },
      );
    objects.set(key, known);
    return known;
  }

  async function resolved(name: string, version: string): Promise<ViewDefinition | undefined> {
    const key = `${name}@${version}`;
    const known = views.get(key) ?? (await store.view(name, version));
    if (known) views.set(key, known);
    return known;
  }

  return {
    resolved,
    async load({ manifest, revision }) {
      const maps = {
        entity: new Map(),
        source: new Map(),
        featureView: new Map(),
        featureService: new Map(),
        model: new Map(),
        deployment: new Map(),
      } satisfies Record<Spec['$case'], Map<string, unknown>>;
      await Promise.all(
        Object.entries(manifest).map(async ([path, entry]) => {
          const [kind, name] = path.split('/') as [Kind, string];
          const { spec } = await object(kind, name, entry);
          if (spec) (maps[spec.$case] as Map<string, unknown>).set(name, toRegistered(name, spec.value, entry));
        }),
      );
      const services = maps.featureService as ReadonlyMap<string, Registered<definitions.FeatureService>>;
      const wanted = new Map<string, readonly [string, string]>();
      for (const [name, { version }] of maps.featureView as ReadonlyMap<string, Registered<definitions.FeatureView>>)
        wanted.set(`${name}@${version}`, [name, version]);
      for (const { spec } of services.values())
        for (const { view, viewVersion } of spec.features) wanted.set(`${view}@${viewVersion}`, [view, viewVersion]);
      const resolvedViews = new Map<string, ViewDefinition>();
      for (const [key, [name, version]] of wanted) {
        const view = await resolved(name, version);
        if (view) resolvedViews.set(key, view);
      }
      return {
        revision,
        entities: sorted(maps.entity),
        sources: sorted(maps.source),
        views: sorted(maps.featureView),
        services: sorted(services),
        models: sorted(maps.model),
        deployments: sorted(maps.deployment),
        resolvedViews,
      };
    },
  };
}

export function toRegistered<S>(name: string, spec: S, entry: ManifestEntry): Registered<S> {
  return {
    name,
    version: entry.version,
    metadata: { owner: entry.owner, description: entry.description, tags: new Map(Object.entries(entry.tags)) },
    spec,
    createdUs: entry.createdUs,
    previousVersions: entry.previousVersions,
  };
}

function sorted<V>(map: ReadonlyMap<string, V>): ReadonlyMap<string, V> {
  return new Map([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
}
