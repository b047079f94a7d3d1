import { feastTypes } from '@millrace/contracts';
import type { FieldType, List } from '@millrace/features';
import { encodeField } from '../domain/wire.ts';
import { doubleText } from './json-text.ts';
import { floorSeconds } from './values.ts';

/** The field of a FeatureVector that holds a value. */
const valueField = 1;

/** A list as the `values` field of a FeatureVector; times in whole seconds, as Feast has them. */
export function protoList(list: List, element: FieldType | undefined): Buffer {
  return encodeField(valueField, Buffer.from(feastTypes.Value.encode({ val: listValue(list, element) }).finish()));
}

function listValue(list: List, element: FieldType | undefined): feastTypes.Value['val'] {
  switch (element) {
    case 'DOUBLE':
      return { $case: 'doubleListVal', value: { val: list.map(Number) } };
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

/** A list in an answer's JSON, with the comma behind it. */
export function jsonList(list: List, element: FieldType | undefined): Buffer {
  const values = list.map((value) => {
    if (element === 'DOUBLE') return doubleText(Number(value));
    if (element === 'STRING') return JSON.stringify(value);
    return String(element === 'TIMESTAMP' ? floorSeconds(BigInt(value)) : value);
  });
  return Buffer.from(`[${values.join(',')}],`);
}
