import { MeshError } from '@millrace/kernel';
import type { RegistrySnapshot } from '@millrace/registry';
import { compileSource, type SourceValidator } from '../domain/source-validator.ts';

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

/** The compiled schema of every source, by name; a source is compiled again when its version changes. */
export function createValidators(definitions: Definitions) {
  const compiled = new Map<string, SourceValidator>();
  return {
    /** Throws UNKNOWN_SOURCE. */
    async of(source: string): Promise<SourceValidator> {
      await isRegistered(definitions, source);
      const { sources } = definitions.current();
      const registered = sources.get(source);
      if (registered === undefined) throw unknownSource(source, sources.keys());
      const { version, spec } = registered;
      const known = compiled.get(source);
      if (known !== undefined && known.version === version) return known;
      const validator = compileSource({ name: source, version, spec });
      compiled.set(source, validator);
      return validator;
    },
  };
}

export function unknownSource(source: string, known: Iterable<string>): MeshError {
  const names = [...known].slice(0, 10).join(', ') || 'none yet';
  return new MeshError(
    'UNKNOWN_SOURCE',
    `source "${source}" is not registered (known: ${names}); check the name or apply its definition first`,
    { source },
  );
}
