import { type RegistryWatch, viewDefinition } from '@millrace/registry';
import type { ViewCatalog } from '../feast/feast-book.ts';
import type { SourceCatalog } from '../feast/push.ts';

/** Views and sources as Feast's clients name them. */
export function createFeastCatalog(deps: { readonly registry: RegistryWatch }): ViewCatalog & SourceCatalog {
  const { registry } = deps;
  return {
    view: (name, version) => viewDefinition(registry.current(), name, version),
    versionAt(view, ordinal) {
      const found = registry.current().views.get(view);
      return found && [found.version, ...found.previousVersions].reverse()[ordinal - 1];
    },
    ordinalOf(view, version) {
      const found = registry.current().views.get(view);
      return found ? [found.version, ...found.previousVersions].reverse().indexOf(version) + 1 : 0;
    },
    source: (name) => registry.current().sources.get(name)?.spec,
    viewNames: () => [...registry.current().views.keys()],
    async refresh() {
      await registry.refresh();
    },
  };
}
