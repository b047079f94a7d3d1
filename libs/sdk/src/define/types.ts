import type { definitions } from '@millrace/contracts';

export type FieldTypeName = 'BOOL' | 'INT64' | 'DOUBLE' | 'STRING' | 'TIMESTAMP';

/** Of a source's fields. */
export type SchemaTypeName = FieldTypeName | 'VECTOR';

/** What people say about a definition; changes freely without a new version. */
export interface MetadataOptions {
  readonly owner?: string;
  readonly description?: string;
  readonly tags?: Readonly<Record<string, string>>;
}

/** A definition that can be planned and applied. */
export interface Defined {
  readonly definition: definitions.Definition;
}

export function isDefined(value: unknown): value is Defined {
  return typeof value === 'object' && value !== null && 'definition' in value && typeof value.definition === 'object';
}

export function define(
  name: string,
  options: MetadataOptions,
  spec: NonNullable<definitions.Definition['spec']>,
): definitions.Definition {
  return {
    name,
    metadata: {
      owner: options.owner ?? '',
      description: options.description ?? '',
      tags: new Map(Object.entries(options.tags ?? {})),
    },
    file: '',
    spec,
  };
}
