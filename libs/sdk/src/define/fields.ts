import { definitions } from '@millrace/contracts';
import type { FieldTypeName } from './types.ts';

/** One field of a source as an author writes it. The type parameters carry its type and nullability into feature views. */
export interface FieldSpec<T extends FieldTypeName = FieldTypeName> {
  readonly type: T;
  readonly nullable?: boolean;
  /** STRING only: the allowed values. */
  readonly enum?: readonly string[];
  /** INT64, DOUBLE and TIMESTAMP: the smallest allowed value. */
  readonly min?: number;
  /** INT64, DOUBLE and TIMESTAMP: the largest allowed value. */
  readonly max?: number;
}

type Options = Omit<FieldSpec, 'type'>;

export const bool = (options: Pick<Options, 'nullable'> = {}): FieldSpec<'BOOL'> => ({ type: 'BOOL', ...options });
export const int64 = (options: Omit<Options, 'enum'> = {}): FieldSpec<'INT64'> => ({ type: 'INT64', ...options });
export const double = (options: Omit<Options, 'enum'> = {}): FieldSpec<'DOUBLE'> => ({ type: 'DOUBLE', ...options });
export const string = (options: Pick<Options, 'nullable' | 'enum'> = {}): FieldSpec<'STRING'> => ({
  type: 'STRING',
  ...options,
});
export const timestamp = (options: Omit<Options, 'enum'> = {}): FieldSpec<'TIMESTAMP'> => ({
  type: 'TIMESTAMP',
  ...options,
});

export function fieldToProto(name: string, spec: FieldSpec): definitions.SourceField {
  return {
    name,
    type: definitions.FieldType[spec.type],
    nullable: spec.nullable ?? false,
    enumValues: [...(spec.enum ?? [])],
    min: spec.min,
    max: spec.max,
  };
}
