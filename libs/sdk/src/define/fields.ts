import { definitions, type expectations } from '@millrace/contracts';
import type { SchemaTypeName } from './types.ts';

/** What stands in for a value that is missing or null; `mean` and `median` are fitted to history. */
export type MissingName = 'reject' | 'default' | 'forward' | 'mean' | 'median';

/** How values that are far out are treated: bounds given, or fitted to history by z-score or interquartile range. */
export interface OutlierSpec {
  readonly action: 'flag' | 'clip' | 'null';
  readonly min?: number;
  readonly max?: number;
  readonly zScore?: number;
  readonly iqr?: number;
}

/** One field of a source as an author writes it. The type parameters carry its type and nullability into feature views. */
export interface FieldSpec<T extends SchemaTypeName = SchemaTypeName> {
  readonly type: T;
  readonly nullable?: boolean;
  /** VECTOR only, and required there: how many numbers. */
  readonly dimension?: number;
  /** STRING only: the allowed values. */
  readonly enum?: readonly string[];
  /** INT64, DOUBLE and TIMESTAMP: the smallest allowed value. */
  readonly min?: number;
  /** INT64, DOUBLE and TIMESTAMP: the largest allowed value. */
  readonly max?: number;
  /** Stands in where the field is absent, or null and not nullable, and in events of before the field was added. */
  readonly default?: number | bigint | string | boolean;
  /** What stands in for a value that is missing or null. */
  readonly missing?: MissingName;
  /** INT64 and DOUBLE: how values that are far out are treated. */
  readonly outliers?: OutlierSpec;
}

type Options = Omit<FieldSpec, 'type' | 'dimension'>;
type Simple = Omit<Options, 'enum' | 'min' | 'max' | 'outliers'>;

export const bool = (options: Simple = {}): FieldSpec<'BOOL'> => ({ type: 'BOOL', ...options });
export const int64 = (options: Omit<Options, 'enum'> = {}): FieldSpec<'INT64'> => ({ type: 'INT64', ...options });
export const double = (options: Omit<Options, 'enum'> = {}): FieldSpec<'DOUBLE'> => ({ type: 'DOUBLE', ...options });
export const string = (options: Simple & Pick<Options, 'enum'> = {}): FieldSpec<'STRING'> => ({
  type: 'STRING',
  ...options,
});
export const timestamp = (options: Omit<Options, 'enum' | 'outliers'> = {}): FieldSpec<'TIMESTAMP'> => ({
  type: 'TIMESTAMP',
  ...options,
});

/** So many finite float32, such as an embedding. */
export const vector = (dimension: number, options: Pick<Options, 'nullable'> = {}): FieldSpec<'VECTOR'> => ({
  type: 'VECTOR',
  dimension,
  ...options,
});

const missingActions = {
  reject: 1,
  default: 2,
  forward: 3,
  mean: 4,
  median: 5,
} as const satisfies Record<MissingName, expectations.MissingAction>;
const outlierActions = { flag: 1, clip: 2, null: 3 } as const satisfies Record<string, expectations.OutlierAction>;

export function fieldToProto(name: string, spec: FieldSpec): definitions.SourceField {
  const { outliers } = spec;
  return {
    name,
    type: definitions.FieldType[spec.type],
    nullable: spec.nullable ?? false,
    enumValues: [...(spec.enum ?? [])],
    min: spec.min,
    max: spec.max,
    defaultValue: spec.default === undefined ? undefined : toFieldValue(spec.default, spec.type),
    missing: spec.missing === undefined ? 0 : missingActions[spec.missing],
    outliers: outliers && {
      action: outlierActions[outliers.action],
      min: outliers.min,
      max: outliers.max,
      zScore: outliers.zScore,
      iqr: outliers.iqr,
    },
    dimension: spec.dimension ?? 0,
  };
}

/** A value of the field's type where it can be one; what cannot is refused when it is applied. */
function toFieldValue(value: number | bigint | string | boolean, type: SchemaTypeName): definitions.Value {
  if (typeof value === 'boolean') return { kind: { $case: 'boolValue', value } };
  if (typeof value === 'string') return { kind: { $case: 'stringValue', value } };
  if (type === 'DOUBLE') return { kind: { $case: 'doubleValue', value: Number(value) } };
  if (typeof value === 'bigint') return { kind: { $case: 'int64Value', value } };
  return Number.isSafeInteger(value)
    ? { kind: { $case: 'int64Value', value: BigInt(value) } }
    : { kind: { $case: 'doubleValue', value } };
}
