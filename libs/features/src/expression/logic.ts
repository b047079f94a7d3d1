import { aType, type Node, type Value, want } from './node.ts';
import { asDouble } from './numbers.ts';

/** Three-valued, as in SQL: false && unknown is false, true || unknown is true. */
export function logic(op: '&&' | '||', parts: readonly Node[]): Node {
  for (const part of parts) want(part, 'BOOL', `"${op}"`);
  const decisive = op === '||';
  return {
    type: 'BOOL',
    bind(readers) {
      const evaluates = parts.map((part) => part.bind(readers));
      return (row) => {
        let result: Value = !decisive;
        for (const evaluate of evaluates) {
          const value = evaluate(row);
          if (value === decisive) return decisive;
          if (value === null) result = null;
        }
        return result;
      };
    },
    sql: (scope) => `(${parts.map((part) => part.sql(scope)).join(op === '&&' ? ' AND ' : ' OR ')})`,
  };
}

export function negation(inner: Node): Node {
  want(inner, 'BOOL', '"!"');
  return {
    type: 'BOOL',
    bind(readers) {
      const evaluate = inner.bind(readers);
      return (row) => {
        const value = evaluate(row);
        return value === null ? null : !value;
      };
    },
    sql: (scope) => `(NOT ${inner.sql(scope)})`,
  };
}

/** A condition that is unknown is not true: the second, as SQL's CASE. */
export function ternary(condition: Node, whenTrue: Node, whenFalse: Node): Node {
  want(condition, 'BOOL', 'the condition before "?"');
  const { type, parts } = unified([whenTrue, whenFalse], 'the two sides of ":"');
  const [yes, no] = parts as [Node, Node];
  return {
    type,
    bind(readers) {
      const test = condition.bind(readers);
      const a = yes.bind(readers);
      const b = no.bind(readers);
      return (row) => (test(row) === true ? a(row) : b(row));
    },
    sql: (scope) => `if(${condition.sql(scope)}, ${yes.sql(scope)}, ${no.sql(scope)})`,
  };
}

/** The first that is not null. */
export function coalesce(given: readonly Node[]): Node {
  const { type, parts } = unified(given, 'the values of coalesce');
  return {
    type,
    bind(readers) {
      const evaluates = parts.map((part) => part.bind(readers));
      return (row) => {
        for (const evaluate of evaluates) {
          const value = evaluate(row);
          if (value !== null) return value;
        }
        return null;
      };
    },
    sql: (scope) => `coalesce(${parts.map((part) => part.sql(scope)).join(', ')})`,
  };
}

/** Parts of one type: integers become DOUBLEs beside a DOUBLE, null is of every type. */
export function unified(given: readonly Node[], what: string): { readonly type: Node['type']; readonly parts: Node[] } {
  const types = new Set(given.map(({ type }) => type).filter((type) => type !== 'NULL'));
  if (types.has('DOUBLE') && types.has('INT64') && types.size === 2)
    return { type: 'DOUBLE', parts: given.map((part) => (part.type === 'NULL' ? part : asDouble(part))) };
  const [type, other] = [...types];
  if (type === undefined) throw new Error(`${what} are all null`);
  if (other !== undefined)
    throw new Error(`${what} are of several types: ${aType(type)} and ${aType(other)}; convert one`);
  return { type, parts: [...given] };
}
