import { serving } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { lengthEnd, type Reader } from '@millrace/rpc';
import type { RequestDataColumn } from '../domain/request-data.ts';

/** A RequestColumn: few services have any, so the generated code reads it. */
export function decodeRequestColumn(reader: Reader): RequestDataColumn {
  const end = lengthEnd(reader);
  const bytes = reader.bytes.subarray(reader.at, end);
  reader.at = end;
  let column: serving.RequestColumn;
  try {
    column = serving.RequestColumn.decode(bytes);
  } catch (cause) {
    const message = `request_data is not a RequestColumn: ${(cause as Error).message}; encode it with protobuf`;
    throw new MeshError('MALFORMED_PAYLOAD', message, { field: 'request_data' }, { cause });
  }
  const { name, nulls } = column;
  const lists = { DOUBLE: column.doubles, INT64: column.int64s, STRING: column.strings, BOOL: column.bools } as const;
  const filled = Object.entries(lists).filter(([, values]) => values.length > 0);
  if (filled.length > 1)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `request field "${name}" has values of several types; fill exactly one of doubles, int64s, strings and bools`,
      { field: name },
    );
  const [kind, values] = (filled[0] ?? ['EMPTY', []]) as [RequestDataColumn['kind'], RequestDataColumn['values']];
  if (nulls.length === 0) return { name, kind, values };
  return { name, kind, values: values.map((value, row) => (nulls[row] === 1 ? null : value)) };
}
