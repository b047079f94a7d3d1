import type { ViewDefinition } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import { type RegistrySnapshot, viewDefinition } from '@millrace/registry';
import { viewId } from '../domain/view-record.ts';
import type { Engine } from './engine.ts';
import type { ServiceToTrain } from './training/training-set.ts';

/** Names in requests → definitions: the registry's, or a view version that this process still keeps. */
export function createDefinitions(deps: { readonly snapshot: () => RegistrySnapshot; readonly engine: Engine }) {
  return {
    view: async (name: string, version: string): Promise<ViewDefinition> => {
      const snapshot = deps.snapshot();
      const kept = deps.engine.views.get(viewId(name, version))?.record.definition;
      if (kept !== undefined) return kept;
      if (!snapshot.views.has(name)) {
        throw new MeshError('UNKNOWN_FEATURE_VIEW', `there is no feature view "${name}"; apply its definition first`, {
          view: name,
        });
      }
      return viewDefinition(snapshot, name, version === '' ? undefined : version);
    },
    service: async (name: string): Promise<ServiceToTrain> => {
      const service = deps.snapshot().services.get(name);
      if (service === undefined) {
        throw new MeshError(
          'UNKNOWN_FEATURE_SERVICE',
          `there is no feature service "${name}"; apply its definition first`,
          {
            service: name,
          },
        );
      }
      return { version: service.version, spec: service.spec };
    },
  };
}
