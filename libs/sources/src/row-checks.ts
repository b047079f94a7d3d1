import type { definitions } from '@millrace/contracts';
import { type Column, compileFilter, type SourceField } from '@millrace/features';
import { quote } from '@millrace/kernel';
import { RE2JS } from 're2js';
import { type Check, type Severity, severityOf } from './severity.ts';

export type Columns = ReadonlyMap<string, Column>;

/** What is wrong with a row: the field at fault (empty: none) and what to do. */
export type RowFailure = { readonly field: string; readonly message: string };

/** A check of rows that needs nothing but the row. Null is never at fault, but for `not_null`. */
export type RowCheck = {
  readonly name: string;
  readonly severity: Severity;
  readonly bind: (columns: Columns) => (row: number) => RowFailure | null;
};

/** A check that needs what came before: which fields must be unique, and for how long. */
export type UniqueCheck = {
  readonly name: string;
  readonly severity: Severity;
  readonly fields: readonly string[];
  readonly windowUs: number;
};

export type RowChecks = { readonly checks: readonly RowCheck[]; readonly uniques: readonly UniqueCheck[] };

/** Throws an Error for an expectation that `expectationProblems` would have refused. */
export function compileRowChecks(
  source: Pick<definitions.Source, 'expectations'>,
  fields: readonly SourceField[],
): RowChecks {
  const checks: RowCheck[] = [];
  const uniques: UniqueCheck[] = [];
  for (const { name, severity: given, check } of source.expectations) {
    if (check === undefined) continue;
    const severity = severityOf(given, 'quarantine');
    if (check.$case === 'unique') {
      uniques.push({ name, severity, fields: check.value.fields, windowUs: Number(check.value.windowUs) });
      continue;
    }
    const bind = bindingOf(check, fields);
    if (bind) checks.push({ name, severity, bind });
  }
  return { checks, uniques };
}

function bindingOf(check: Check, fields: readonly SourceField[]): RowCheck['bind'] | undefined {
  switch (check.$case) {
    case 'notNull':
      return notNull(check.value.field);
    case 'inRange':
      return inRange(check.value.field, check.value.min, check.value.max);
    case 'inSet':
      return inSet(check.value.field, check.value.values);
    case 'matches':
      return matches(check.value.field, check.value.pattern);
    case 'condition':
      return condition(check.value.cel, fields);
    default:
      return undefined;
  }
}

function notNull(field: string): RowCheck['bind'] {
  const failure = { field, message: `field "${field}" is null; send a value` };
  return (columns) => {
    const nulls = columnOf(columns, field).nulls;
    return (row) => (nulls?.[row] === 1 ? failure : null);
  };
}

function inRange(field: string, min: number | undefined, max: number | undefined): RowCheck['bind'] {
  const lowest = min ?? Number.NEGATIVE_INFINITY;
  const highest = max ?? Number.POSITIVE_INFINITY;
  const wanted = min === undefined ? `at most ${max}` : max === undefined ? `at least ${min}` : `${min} to ${max}`;
  return (columns) => {
    const { values, nulls } = columnOf(columns, field);
    return (row) => {
      const value = values[row] as number | bigint;
      if ((value >= lowest && value <= highest) || nulls?.[row] === 1) return null;
      return { field, message: `field "${field}" ${value} is out of range; send ${wanted}` };
    };
  };
}

function inSet(field: string, allowed: readonly string[]): RowCheck['bind'] {
  const members = new Set(allowed);
  const some = `${allowed.slice(0, 8).join(', ')}${allowed.length > 8 ? `, … (${allowed.length} in all)` : ''}`;
  return (columns) => {
    const column = columnOf(columns, field);
    const { nulls } = column;
    const text = textReader(column);
    return (row) => {
      if (nulls?.[row] === 1 || members.has(text(row))) return null;
      return { field, message: `field "${field}" ${quote(text(row))} is not one of ${some}` };
    };
  };
}

/** RE2 runs in time linear in the text: no pattern can be made to hang. */
function matches(field: string, pattern: string): RowCheck['bind'] {
  const compiled = RE2JS.compile(pattern);
  return (columns) => {
    const { values, nulls } = columnOf(columns, field);
    return (row) => {
      if (nulls?.[row] === 1 || compiled.test(values[row] as string)) return null;
      return { field, message: `field "${field}" ${quote(values[row])} does not match ${pattern}` };
    };
  };
}

/** Not met only where the condition is false: its negation is true then, and unknown where it is unknown. */
function condition(cel: string, fields: readonly SourceField[]): RowCheck['bind'] {
  const broken = compileFilter(`!(${cel})`, fields);
  const used = fieldsOfCondition(cel, fields);
  return (columns) => {
    const isBroken = broken.bind(columns);
    const readers = used.map((name) => ({ name, column: columnOf(columns, name) }));
    return (row) => {
      if (!isBroken(row)) return null;
      const values = readers.map(
        ({ name, column }) => `${name} = ${column.nulls?.[row] === 1 ? 'null' : quote(scalar(column, row))}`,
      );
      return {
        field: used.length === 1 ? (used[0] ?? '') : '',
        message: `the condition ${cel} is false (${values.join(', ')})`,
      };
    };
  };
}

/** The fields that a condition names. */
export function fieldsOfCondition(cel: string, fields: readonly SourceField[]): string[] {
  return fields.filter(({ name }) => new RegExp(`\\b${name}\\b`).test(cel)).map(({ name }) => name);
}

function columnOf(columns: Columns, field: string): Column {
  const column = columns.get(field);
  if (!column) throw new Error(`there is no column "${field}"`);
  return column;
}

function scalar(column: Column, row: number): unknown {
  return column.type === 'bool' ? column.values[row] === 1 : column.values[row];
}

export function textReader(column: Column): (row: number) => string {
  if (column.type === 'str') return (row) => column.values[row] ?? '';
  return (row) => String(scalar(column, row));
}
