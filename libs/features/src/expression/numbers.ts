import { constantOf } from './literals.ts';
import { aType, finite, isInteger, isNumber, type Node, strict, wrap } from './node.ts';
import { finiteSql } from './sql-pieces.ts';

export type Arithmetic = '+' | '-' | '*' | '/' | '%';

/**
 * Integers wrap at 64 bits, their division truncates, and by zero it is null. A DOUBLE that would not be finite is null. A TIMESTAMP counts as
 * its microseconds: less another it is an INT64, and with an INT64 added or taken off it is a TIMESTAMP.
 */
export function arithmetic(op: Arithmetic, left: Node, right: Node): Node {
  if (op === '+' && left.type === 'STRING' && right.type === 'STRING')
    return strict(
      'STRING',
      [left, right],
      (x: string, y: string) => x + y,
      ([x, y]) => `concat(${x}, ${y})`,
    );
  if (!isNumber(left) || !isNumber(right))
    throw new Error(`"${op}" needs two numbers, not ${aType(left.type)} and ${aType(right.type)}`);
  if (isInteger(left) && isInteger(right)) {
    const { compute, sql } = integerOperations[op];
    return strict(integerType(op, left, right), [left, right], compute, ([x = '', y = '']) => sql(x, y));
  }
  if (op === '%') throw new Error('"%" needs two integers');
  return strict('DOUBLE', [asDouble(left), asDouble(right)], doubleOperations[op], ([x, y]) =>
    finiteSql(`${x} ${op} ${y}`),
  );
}

export function minus(inner: Node): Node {
  if (!isNumber(inner)) throw new Error(`"-" needs a number, not ${aType(inner.type)}`);
  if (inner.type === 'DOUBLE')
    return strict(
      'DOUBLE',
      [inner],
      (x: number) => -x,
      ([x]) => `negate(${x})`,
    );
  return strict(
    'INT64',
    [inner],
    (x: bigint) => wrap(-x),
    ([x]) => `negate(${x})`,
  );
}

/** The nearest DOUBLE. */
export function asDouble(node: Node): Node {
  if (node.type === 'DOUBLE') return node;
  if (!isInteger(node)) throw new Error(`a number is needed, not ${aType(node.type)}`);
  if (typeof node.constant === 'bigint') return constantOf('DOUBLE', Number(node.constant));
  return strict(
    'DOUBLE',
    [node],
    (x: bigint) => Number(x),
    ([x]) => `toFloat64(${x})`,
  );
}

function integerType(op: Arithmetic, left: Node, right: Node): 'INT64' | 'TIMESTAMP' {
  const times = Number(left.type === 'TIMESTAMP') + Number(right.type === 'TIMESTAMP');
  const shifted = times === 1 && (op === '+' || (op === '-' && left.type === 'TIMESTAMP'));
  return shifted ? 'TIMESTAMP' : 'INT64';
}

type IntegerOperation = {
  readonly compute: (x: bigint, y: bigint) => bigint | null;
  readonly sql: (x: string, y: string) => string;
};

/** Of 128 bits in SQL where ClickHouse would refuse the smallest integer by −1. */
const integerOperations: Readonly<Record<Arithmetic, IntegerOperation>> = {
  '+': { compute: (x, y) => wrap(x + y), sql: (x, y) => `(${x} + ${y})` },
  '-': { compute: (x, y) => wrap(x - y), sql: (x, y) => `(${x} - ${y})` },
  '*': { compute: (x, y) => wrap(x * y), sql: (x, y) => `(${x} * ${y})` },
  '/': {
    compute: (x, y) => (y === 0n ? null : wrap(x / y)),
    sql: (x, y) => `toInt64(intDivOrNull(toInt128(${x}), ${y}))`,
  },
  '%': {
    compute: (x, y) => (y === 0n ? null : x % y),
    sql: (x, y) => `toInt64(moduloOrNull(toInt128(${x}), ${y}))`,
  },
};

const doubleOperations: Readonly<Record<Exclude<Arithmetic, '%'>, (x: number, y: number) => number | null>> = {
  '+': (x, y) => finite(x + y),
  '-': (x, y) => finite(x - y),
  '*': (x, y) => finite(x * y),
  '/': (x, y) => finite(x / y),
};
