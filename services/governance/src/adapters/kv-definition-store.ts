import type { NatsLink } from '@millrace/events';
import { MeshError } from '@millrace/kernel';
import { createSnapshotLoader, openRegistryStore, type Registered } from '@millrace/registry';
import type { DefinitionStore } from '../app/registry.ts';

/** Definitions in JetStream KV; see libs/registry. */
export async function openDefinitionStore(link: NatsLink): Promise<DefinitionStore> {
  const store = await openRegistryStore(link);
  const loader = createSnapshotLoader(store);
  const available = async <T>(what: string, call: () => Promise<T>): Promise<T> => {
    try {
      return await call();
    } catch (cause) {
      if (cause instanceof MeshError) throw cause;
      throw new MeshError(
        'STORE_UNAVAILABLE',
        `the registry could not be ${what}: ${(cause as Error).message}; try again`,
        {},
        { cause },
      );
    }
  };
  return {
    read: () =>
      available('read', async () => {
        const head = await store.head();
        return { snapshot: await loader.load(head), manifest: head.manifest, revision: head.revision };
      }),
    keep: (kind, definition, version) => available('written', () => store.putObject(kind, definition, version)),
    keepView: (view) => available('written', () => store.putView(view)),
    move: (manifest, expected) => available('written', () => store.moveHead(manifest, expected)),
    get: (kind, name, version) =>
      available('read', async (): Promise<Registered<unknown> | undefined> => {
        const { manifest } = await store.head();
        const entry = manifest[`${kind}/${name}`];
        const wanted = version || entry?.version;
        if (wanted === undefined) return undefined;
        const definition = await store.object(kind, name, wanted);
        if (!definition?.spec) return undefined;
        return {
          name,
          version: wanted,
          metadata: entry
            ? { owner: entry.owner, description: entry.description, tags: new Map(Object.entries(entry.tags)) }
            : (definition.metadata ?? { owner: '', description: '', tags: new Map() }),
          spec: definition.spec,
          createdUs: entry?.version === wanted ? entry.createdUs : 0,
          previousVersions: entry?.previousVersions ?? [],
        };
      }),
  };
}
