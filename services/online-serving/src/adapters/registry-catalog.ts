import { type RegistrySnapshot, type RegistryWatch, type ViewStates, viewDefinition } from '@millrace/registry';
import type { DefinitionCatalog, ListedService } from '../app/plan-book.ts';

/** The registry as online-serving sees it: feature services, and the views that they name. */
export function createRegistryCatalog(deps: {
  readonly registry: RegistryWatch;
  readonly states: ViewStates;
}): DefinitionCatalog {
  const { registry, states } = deps;
  return {
    listServices: () => [...registry.current().services.values()],
    async refresh() {
      await registry.refresh();
    },
    async service(name, version) {
      return (await registry.get('feature_service', name, version)) as ListedService | undefined;
    },
    async view(name, version) {
      const known = version === '' || registry.current().resolvedViews.has(`${name}@${version}`);
      return (
        (known ? undefined : await registry.view(name, version)) ?? viewDefinition(registry.current(), name, version)
      );
    },
    isReady(view, version) {
      const told = states.current();
      return told === undefined || told[`${view}@${version}`] === 'ready';
    },
  };
}

/** Every feature of every current view. */
export function featuresOf(snapshot: RegistrySnapshot): { readonly view: string; readonly feature: string }[] {
  return [...snapshot.views.values()].flatMap(({ name, spec }) =>
    spec.features.map((feature) => ({ view: name, feature: feature.name })),
  );
}
