import { feastTypes } from '@millrace/contracts';
import { type ElementType, elementOf, type List, vectorOf } from '@millrace/features';
import type { Matrix } from '../domain/matrix.ts';
import { Block, type PlannedFeature } from '../domain/plan.ts';
import { encodeField } from '../domain/wire.ts';
import { doubleText } from './json-text.ts';
import { floorSeconds } from './values.ts';

/** The field of a FeatureVector that holds a value. */
const valueField = 1;

/** A list as the `values` field of a FeatureVector; times in whole seconds, as Feast has them. */
export function protoList(list: List, element: ElementType | undefined): Buffer {
  return encodeField(valueField, Buffer.from(feastTypes.Value.encode({ val: listValue(list, element) }).finish()));
}

function listValue(list: List, element: ElementType | undefined): feastTypes.Value['val'] {
  switch (element) {
    case 'DOUBLE':
      return { $case: 'doubleListVal', value: { val: list.map(Number) } };
    case 'FLOAT32':
      return { $case: 'floatListVal', value: { val: list.map(Number) } };
    case 'STRING':
      return { $case: 'stringListVal', value: { val: list.map(String) } };
    case 'BOOL':
      return { $case: 'boolListVal', value: { val: list.map(Boolean) } };
    case 'TIMESTAMP':
      return { $case: 'unixTimestampListVal', value: { val: list.map((timeUs) => floorSeconds(BigInt(timeUs))) } };
    default:
      return { $case: 'int64ListVal', value: { val: list.map((value) => BigInt(value)) } };
  }
}

/** The lists of a column of lists or vectors; an empty one where there is no vector, whose status tells. */
export function listsOf(matrix: Matrix, { block, column, type }: PlannedFeature): ListColumn | undefined {
  const element = elementOf(type);
  if (block === Block.LISTS) return { lists: matrix.lists[column] ?? [], element };
  if (block !== Block.VECTORS) return undefined;
  return { lists: (matrix.vectors[column] ?? []).map((bytes) => (bytes ? vectorOf(bytes) : [])), element };
}

export interface ListColumn {
  readonly lists: readonly List[];
  readonly element: ElementType | undefined;
}

/** A list in an answer's JSON, with the comma behind it. */
export function jsonList(list: List, element: ElementType | undefined): Buffer {
  const values = list.map((value) => {
    if (element === 'DOUBLE' || element === 'FLOAT32') return doubleText(Number(value));
    if (element === 'STRING') return JSON.stringify(value);
    return String(element === 'TIMESTAMP' ? floorSeconds(BigInt(value)) : value);
  });
  return Buffer.from(`[${values.join(',')}],`);
}
