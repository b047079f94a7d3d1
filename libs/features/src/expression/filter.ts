import type { Column, SourceField } from '../types.ts';
import { columnReader } from './columns.ts';
import { compileExpression } from './expression.ts';

/** A condition on events. Nulls follow SQL: unknown is not a match. */
export interface CompiledFilter {
  /** True where the event counts. */
  bind(columns: ReadonlyMap<string, Column>): (row: number) => boolean;
  /** An expression of type Bool, never null; `column` names a field's column. */
  sql(column: (field: string) => string): string;
}

/** Throws an Error whose message says what is wrong with the filter. */
export function compileFilter(text: string, fields: readonly SourceField[]): CompiledFilter {
  const expression = compileExpression(text, fields, 'filter');
  if (expression.type !== 'BOOL') throw new Error(`filter "${text}" is a ${expression.type}, not a condition`);
  return {
    bind(columns) {
      const evaluate = expression.bind((name) => columnReader(columns.get(name)));
      return (row) => evaluate(row) === true;
    },
    sql: (column) => `ifNull(${expression.sql(fieldSql(fields, column))}, false)`,
  };
}

/** Fields as expressions want them: times as microseconds. */
export function fieldSql(fields: readonly SourceField[], column: (field: string) => string): (name: string) => string {
  const times = new Set(fields.filter(({ type }) => type === 'TIMESTAMP').map(({ name }) => name));
  return (name) => (times.has(name) ? `toUnixTimestamp64Micro(${column(name)})` : column(name));
}
