import type { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import type { Registered, RegistrySnapshot } from '@millrace/registry';

/** The registry as ingestion sees it. */
export type Definitions = {
  current(): RegistrySnapshot;
  /** Asks again: a publisher may come right after the definition of its source. */
  refresh(): Promise<RegistrySnapshot>;
};

/** True when the source is registered, by now if need be. */
export async function isRegistered(definitions: Definitions, source: string): Promise<boolean> {
  return definitions.current().sources.has(source) || (await definitions.refresh()).sources.has(source);
}

/** The current definition. Throws UNKNOWN_SOURCE. */
export async function registeredSource(registry: Definitions, source: string): Promise<Registered<definitions.Source>> {
  await isRegistered(registry, source);
  const { sources } = registry.current();
  const registered = sources.get(source);
  if (registered === undefined) throw unknownSource(source, sources.keys());
  return registered;
}

export function unknownSource(source: string, known: Iterable<string>): MeshError {
  const names = [...known].slice(0, 10).join(', ') || 'none yet';
  return new MeshError(
    'UNKNOWN_SOURCE',
    `source "${source}" is not registered (known: ${names}); check the name or apply its definition first`,
    { source },
  );
}
