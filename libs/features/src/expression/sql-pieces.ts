import type { SqlScope, Value } from './node.ts';

/** A literal of exactly the type that an expression's value has. */
export function literalSql(value: Value): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  // as text: a plain literal beyond 2^63 would be taken for an unsigned or floating one
  if (typeof value === 'bigint') return `toInt64('${value}')`;
  if (typeof value === 'number') return `toFloat64(${value})`;
  return String(value);
}

/** Null in place of infinities and NaN; the text of `sql` is in it once. */
export function finiteSql(sql: string): string {
  return `nullIf(ifNotFinite(${sql}, inf), inf)`;
}

const simple = /^(?:(?:\w+\.)?`[^`]*`|\w+|toInt64\('-?\d+'\))$/;

/**
 * SQL that needs its parts more than once. What is not a name or a literal is bound by a lambda: texts, and with them the names that
 * ClickHouse gives to steps, would double with each level otherwise.
 */
export function letSql(scope: SqlScope, parts: readonly string[], body: (...names: string[]) => string): string {
  const bound: { readonly name: string; readonly part: string }[] = [];
  const names = parts.map((part) => {
    if (simple.test(part)) return part;
    const name = scope.fresh();
    bound.push({ name, part });
    return name;
  });
  if (bound.length === 0) return body(...names);
  const variables = bound.map(({ name }) => name).join(', ');
  return `arrayMap((${variables}) -> ${body(...names)}, ${bound.map(({ part }) => `[${part}]`).join(', ')})[1]`;
}
