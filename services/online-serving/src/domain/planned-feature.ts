import { definitions, serving } from '@millrace/contracts';
import { dimensionOf, type FeatureType, type FieldType, isListType, isVectorType } from '@millrace/features';
import { Block, type Fallback, type Plan, type PlannedFeature, type StaleAction } from './plan.ts';
import { encodeField } from './wire.ts';

/** The block of the answer that holds values of a type. */
export function blockOf(type: FeatureType): 1 | 2 | 3 | 4 | 5 {
  if (isVectorType(type)) return Block.VECTORS;
  if (isListType(type)) return Block.LISTS;
  switch (type) {
    case 'DOUBLE':
      return Block.DOUBLES;
    case 'BOOL':
    case 'INT64':
    case 'TIMESTAMP':
      return Block.INT64S;
    case 'STRING':
      return Block.STRINGS;
    default:
      return type satisfies never;
  }
}

/** What the columns of lists hold, and the dimensions of those of vectors. */
export function variableColumns(features: readonly PlannedFeature[]): Pick<Plan, 'lists' | 'vectors'> {
  return {
    lists: features.flatMap(({ type }) => (isListType(type) ? [type.slice(0, -2) as FieldType] : [])),
    vectors: features.flatMap(({ type }) => (isVectorType(type) ? [dimensionOf(type)] : [])),
  };
}

export const staleActions: Record<definitions.StaleAction, StaleAction> = {
  [definitions.StaleAction.UNSPECIFIED]: 'serve',
  [definitions.StaleAction.SERVE]: 'serve',
  [definitions.StaleAction.NULL]: 'null',
  [definitions.StaleAction.DEFAULT]: 'default',
  [definitions.StaleAction.FAIL]: 'fail',
};

export function fallbackOf(value: definitions.Value): Fallback | null {
  switch (value.kind?.$case) {
    case undefined:
      return null;
    case 'boolValue':
      return { double: Number(value.kind.value), int64: value.kind.value ? 1n : 0n, text: String(value.kind.value) };
    case 'int64Value':
      return { double: Number(value.kind.value), int64: value.kind.value, text: String(value.kind.value) };
    case 'doubleValue':
      return {
        double: value.kind.value,
        int64: Number.isFinite(value.kind.value) ? BigInt(Math.trunc(value.kind.value)) : 0n,
        text: String(value.kind.value),
      };
    case 'stringValue':
      return { double: Number.NaN, int64: 0n, text: value.kind.value };
    default:
      return value.kind satisfies never;
  }
}

/** The `features` fields of an answer. */
export function encodeFeatures(features: readonly PlannedFeature[]): Buffer {
  return Buffer.concat(
    features.map((feature) => encodeField(6, Buffer.from(serving.FeatureColumn.encode(feature).finish()))),
  );
}
