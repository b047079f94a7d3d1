import { definitions } from '@millrace/contracts';
import { type Defined, define, type MetadataOptions } from './types.ts';

export type JoinKeys = Readonly<Record<string, 'STRING' | 'INT64' | 'BOOL'>>;

export interface Entity<K extends JoinKeys = JoinKeys> extends Defined {
  readonly kind: 'entity';
  readonly name: string;
  readonly joinKeys: K;
}

/** The thing that features describe: `entity('route', { joinKeys: { origin: 'STRING', destination: 'STRING' } })`. */
export function entity<const K extends JoinKeys>(
  name: string,
  options: MetadataOptions & { readonly joinKeys: K },
): Entity<K> {
  const joinKeys = Object.entries(options.joinKeys).map(([key, type]) => ({
    name: key,
    type: definitions.FieldType[type],
  }));
  return {
    kind: 'entity',
    name,
    joinKeys: options.joinKeys,
    definition: define(name, options, { $case: 'entity', value: { joinKeys } }),
  };
}
