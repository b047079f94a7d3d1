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
        throw unknownView(name);
      }
      return viewDefinition(snapshot, name, version === '' ? undefined : version);
    },
    /** The names of what is expected of a view's features. */
    expected: async (name: string): Promise<ReadonlySet<string>> => {
      const view = deps.snapshot().views.get(name);
      if (view === undefined) throw unknownView(name);
      return new Set(view.spec.expectations.map((each) => each.name));
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

function unknownView(view: string): MeshError {
  return new MeshError('UNKNOWN_FEATURE_VIEW', `there is no feature view "${view}"; apply its definition first`, {
    view,
  });
}
