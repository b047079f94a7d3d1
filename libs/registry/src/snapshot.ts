import type { definitions } from '@millrace/contracts';
import type { ViewDefinition } from '@millrace/features';
import { MeshError } from '@millrace/kernel';

/** A definition in the registry, its references resolved to versions. */
export interface Registered<S> {
  readonly name: string;
  readonly version: string;
  readonly metadata: definitions.Metadata;
  readonly spec: S;
  readonly createdUs: number;
  /** Newest first. */
  readonly previousVersions: readonly string[];
}

/** Everything that is current, at one revision; immutable. */
export interface RegistrySnapshot {
  readonly revision: number;
  readonly entities: ReadonlyMap<string, Registered<definitions.Entity>>;
  readonly sources: ReadonlyMap<string, Registered<definitions.Source>>;
  readonly views: ReadonlyMap<string, Registered<definitions.FeatureView>>;
  readonly services: ReadonlyMap<string, Registered<definitions.FeatureService>>;
  readonly models: ReadonlyMap<string, Registered<definitions.Model>>;
  readonly deployments: ReadonlyMap<string, Registered<definitions.Deployment>>;
  /** By `<view>@<version>`: current ones and those that a current feature service pins. */
  readonly resolvedViews: ReadonlyMap<string, ViewDefinition>;
}

export const emptySnapshot: RegistrySnapshot = {
  revision: 0,
  entities: new Map(),
  sources: new Map(),
  views: new Map(),
  services: new Map(),
  models: new Map(),
  deployments: new Map(),
  resolvedViews: new Map(),
};

/** A view version with its entity's keys and its source's fields as they were when it was applied. UNKNOWN_FEATURE_VIEW when there is none. */
export function viewDefinition(snapshot: RegistrySnapshot, name: string, version?: string): ViewDefinition {
  const wanted = version === undefined || version === '' ? (snapshot.views.get(name)?.version ?? '') : version;
  const found = snapshot.resolvedViews.get(`${name}@${wanted}`);
  if (!found) {
    throw new MeshError(
      'UNKNOWN_FEATURE_VIEW',
      `there is no feature view "${name}"${version ? ` of version "${version}"` : ''}; apply its definition first`,
      { view: name, version: version ?? '' },
    );
  }
  return found;
}
