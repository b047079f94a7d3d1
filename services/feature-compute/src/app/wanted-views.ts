import type { ViewDefinition } from '@millrace/features';
import { toMeshError } from '@millrace/kernel';
import { type RegistrySnapshot, viewDefinition } from '@millrace/registry';
import type { Telemetry } from '@millrace/runtime';

/**
 * The view versions that a snapshot needs: every view's current one and those that a feature service pins. A version is
 * immutable, so one that is `kept` already is taken as it is, also when the registry no longer resolves it.
 */
export function wantedViews(
  snapshot: RegistrySnapshot,
  kept: (id: string) => ViewDefinition | undefined,
  telemetry: Telemetry,
): readonly ViewDefinition[] {
  const wanted = new Map<string, { name: string; version: string | undefined }>();
  for (const [name, view] of snapshot.views) wanted.set(`${name}@${view.version}`, { name, version: undefined });
  for (const service of snapshot.services.values()) {
    for (const { view, viewVersion } of service.spec.features) {
      const id = `${view}@${viewVersion}`;
      if (viewVersion !== '' && !wanted.has(id)) wanted.set(id, { name: view, version: viewVersion });
    }
  }
  return [...wanted].flatMap(([id, { name, version }]) => {
    try {
      return [kept(id) ?? viewDefinition(snapshot, name, version)];
    } catch (cause) {
      telemetry.log.error({ event: 'view_unusable', view: id, error: toMeshError(cause).message });
      return [];
    }
  });
}
