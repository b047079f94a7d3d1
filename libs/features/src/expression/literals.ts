import type { Node, Value } from './node.ts';
import { literalSql } from './sql-pieces.ts';

const [int64Min, int64Max] = [-(2n ** 63n), 2n ** 63n - 1n];

export function literal(value: unknown): Node {
  if (value !== null && typeof value === 'object') throw new Error('bytes and unsigned numbers are not supported');
  const constant = value as Value;
  if (typeof constant === 'bigint' && (constant < int64Min || constant > int64Max))
    throw new Error(`${constant} does not fit in 64 bits`);
  if (typeof constant === 'number' && !Number.isFinite(constant))
    throw new Error('the number is too large for a DOUBLE');
  return constantOf(typeOf(constant), constant);
}

export function constantOf(type: Node['type'], constant: Value): Node {
  return { type, constant, bind: () => () => constant, sql: () => literalSql(constant) };
}

function typeOf(value: Value): Node['type'] {
  switch (typeof value) {
    case 'bigint':
      return 'INT64';
    case 'number':
      return 'DOUBLE';
    case 'boolean':
      return 'BOOL';
    case 'string':
      return 'STRING';
    default:
      return 'NULL';
  }
}
