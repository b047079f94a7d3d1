import { MeshError } from '@millrace/kernel';
import type { RegistrySnapshot } from '@millrace/registry';
import { compileSource, type SourceValidator } from '../domain/source-validator.ts';

/** The compiled schema of every source, by name; a source is compiled again when its version changes. */
export function createValidators(initial: RegistrySnapshot) {
  let snapshot = initial;
  const compiled = new Map<string, SourceValidator>();
  return {
    use(next: RegistrySnapshot): void {
      snapshot = next;
    },
    has: (source: string): boolean => snapshot.sources.has(source),
    /** Throws UNKNOWN_SOURCE. */
    of(source: string): SourceValidator {
      const registered = snapshot.sources.get(source);
      if (registered === undefined) throw unknownSource(source, snapshot.sources.keys());
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
