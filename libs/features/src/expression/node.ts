import type { FieldType } from '../types.ts';

/** A value inside an expression: INT64 and TIMESTAMP are bigints (a time in microseconds), a DOUBLE is finite. */
export type Value = number | bigint | string | boolean | null;

/** NULL is the type of the word `null` alone. */
export type ValueType = FieldType | 'NULL';

export type Evaluate = (row: number) => Value;

/** The reader of a name's values. */
export type Readers = (name: string) => Evaluate;

export interface SqlScope {
  /** The SQL of a name's value: Bool, Int64 (a time in microseconds too), Float64 or String, nullable or not; a Float64 is finite. */
  column(name: string): string;
  /** A name that nothing else has. */
  fresh(): string;
}

/** A checked part of an expression, in its two forms. */
export interface Node {
  readonly type: ValueType;
  /** Of literals only. */
  readonly constant?: Value;
  readonly bind: (readers: Readers) => Evaluate;
  readonly sql: (scope: SqlScope) => string;
}

export function isInteger({ type }: Node): boolean {
  return type === 'INT64' || type === 'TIMESTAMP';
}

export function isNumber(node: Node): boolean {
  return node.type === 'DOUBLE' || isInteger(node);
}

/** Throws an Error that says what is wanted. */
export function want(node: Node, type: ValueType, what: string): void {
  if (node.type !== type) throw new Error(`${what} needs ${aType(type)}, not ${aType(node.type)}`);
}

export function aType(type: ValueType): string {
  if (type === 'NULL') return 'null';
  return type === 'INT64' ? 'an INT64' : `a ${type}`;
}

/** A node whose value is null as soon as one of its parts is; `compute` never sees a null. */
export function strict(
  type: FieldType,
  parts: readonly Node[],
  compute: (...values: never[]) => Value,
  sql: (parts: readonly string[], scope: SqlScope) => string,
): Node {
  return {
    type,
    bind: (readers) =>
      strictly(
        parts.map((part) => part.bind(readers)),
        compute,
      ),
    sql: (scope) =>
      sql(
        parts.map((part) => part.sql(scope)),
        scope,
      ),
  };
}

/** One and two parts have loops of their own: they are nearly all there are. */
function strictly(parts: readonly Evaluate[], compute: (...values: never[]) => Value): Evaluate {
  const [a, b] = parts;
  const call = compute as (...values: NonNullable<Value>[]) => Value;
  if (a && parts.length === 1) {
    return (row) => {
      const x = a(row);
      return x === null ? null : call(x);
    };
  }
  if (a && b && parts.length === 2) {
    return (row) => {
      const x = a(row);
      if (x === null) return null;
      const y = b(row);
      return y === null ? null : call(x, y);
    };
  }
  return (row) => {
    const values: NonNullable<Value>[] = [];
    for (const part of parts) {
      const value = part(row);
      if (value === null) return null;
      values.push(value);
    }
    return call(...values);
  };
}

/** 64-bit, wrapping, as ClickHouse's Int64. */
export function wrap(value: bigint): bigint {
  return BigInt.asIntN(64, value);
}

/** What is not finite is no value. */
export function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
