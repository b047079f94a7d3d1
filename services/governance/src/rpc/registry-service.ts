import { type definitions, registry as wire } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { fromWireKind, type Kind, kinds, type Registered, type RegistrySnapshot, toWireKind } from '@millrace/registry';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { Registry } from '../app/registry.ts';
import type { PlannedChange } from '../domain/planned-change.ts';

type Spec = NonNullable<definitions.Definition['spec']>;

/** The wire of RegistryService. */
export function registryService({ registry }: { readonly registry: Registry }): ServiceBinding {
  return bindService(wire.RegistryServiceService, {
    plan: async ({ definitions: set, removals }) => {
      const { changes, problems } = await registry.plan(set, removals);
      return { changes: changes.map(toChange), problems: [...problems] };
    },
    apply: async ({ definitions: set, removals, allowBreaking }) => {
      const { changes, revision } = await registry.apply(set, removals, allowBreaking);
      return { changes: changes.map(toChange), revision: BigInt(revision) };
    },
    getDefinition: async ({ kind: wireKind, name, version }) => {
      const kind = fromWireKind(wireKind);
      if (!kind) throw new MeshError('INVALID_ARGUMENT', `no kind given; use one of ${kinds.join(', ')}`, {});
      const found = await registry.get(kind, name, version);
      if (!found)
        throw new MeshError(
          'UNKNOWN_DEFINITION',
          version === ''
            ? `there is no ${kind} "${name}"; apply its definition first`
            : `there is no ${kind} "${name}" of version "${version}"; read it without a version to see those that there are`,
          { kind, name, version },
        );
      return { registered: toRegistered(found as Registered<Spec>) };
    },
    listDefinitions: async ({ kind: wireKind }) => {
      const { snapshot, revision } = await registry.read();
      const wanted = fromWireKind(wireKind);
      const registered = kinds
        .filter((kind) => wanted === undefined || kind === wanted)
        .flatMap((kind) => listOf(snapshot, kind));
      return { registered, revision: BigInt(revision) };
    },
  });
}

function listOf(snapshot: RegistrySnapshot, kind: Kind): wire.ListDefinitionsResponse['registered'] {
  const list = <C extends Spec['$case']>($case: C, map: ReadonlyMap<string, Registered<unknown>>) =>
    [...map.values()].map((found) => toRegistered({ ...found, spec: { $case, value: found.spec } as Spec }));
  switch (kind) {
    case 'entity':
      return list('entity', snapshot.entities);
    case 'source':
      return list('source', snapshot.sources);
    case 'feature_view':
      return list('featureView', snapshot.views);
    case 'feature_service':
      return list('featureService', snapshot.services);
    case 'model':
      return list('model', snapshot.models);
    case 'deployment':
      return list('deployment', snapshot.deployments);
    default:
      return kind satisfies never;
  }
}

function toRegistered({
  name,
  version,
  metadata,
  spec,
  createdUs,
  previousVersions,
}: Registered<Spec>): definitions.RegisteredDefinition {
  return {
    definition: { name, metadata, file: '', spec },
    version,
    createdUs: BigInt(createdUs),
    previousVersions: [...previousVersions],
  };
}

function toChange(change: PlannedChange): wire.Change {
  return {
    kind: toWireKind(change.kind),
    name: change.name,
    action: wire.ChangeAction[change.action],
    oldVersion: change.oldVersion,
    newVersion: change.newVersion,
    differences: [...change.differences],
    needsBackfill: change.needsBackfill,
    breaks: change.breaks
      .slice(0, 100)
      .map(({ consumer, why, fatal }) => `${consumer}: ${fatal ? '' : 'warning: '}${why}`),
    schemaChanges: (change.schemaChanges ?? []).map(({ allowed: _, rule: __, impact, affected, ...rest }) => ({
      ...rest,
      impact: wire.SchemaImpact[impact],
      affected: [...affected],
    })),
  };
}
