import type { definitions } from '@millrace/contracts';
import { registry } from '@millrace/contracts';

/** The kinds of definitions, by their names in keys, messages and the command. */
export const kinds = ['entity', 'source', 'feature_view', 'feature_service', 'model', 'deployment'] as const;
export type Kind = (typeof kinds)[number];

type Spec = NonNullable<definitions.Definition['spec']>;

const kindOfCase = {
  entity: 'entity',
  source: 'source',
  featureView: 'feature_view',
  featureService: 'feature_service',
  model: 'model',
  deployment: 'deployment',
} as const satisfies Record<Spec['$case'], Kind>;

export function kindOfSpec(spec: Spec): Kind {
  return kindOfCase[spec.$case];
}

const wireKinds = {
  entity: registry.DefinitionKind.ENTITY,
  source: registry.DefinitionKind.SOURCE,
  feature_view: registry.DefinitionKind.FEATURE_VIEW,
  feature_service: registry.DefinitionKind.FEATURE_SERVICE,
  model: registry.DefinitionKind.MODEL,
  deployment: registry.DefinitionKind.DEPLOYMENT,
} as const satisfies Record<Kind, registry.DefinitionKind>;

export function toWireKind(kind: Kind): registry.DefinitionKind {
  return wireKinds[kind];
}

/** Undefined for UNSPECIFIED. */
export function fromWireKind(wire: registry.DefinitionKind): Kind | undefined {
  return kinds.find((kind) => wireKinds[kind] === wire);
}
