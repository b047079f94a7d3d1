import { columnOf, columnReader } from './expression/columns.ts';
import { type CompiledExpression, compileExpression } from './expression/expression.ts';
import { fieldSql } from './expression/filter.ts';
import { eventColumn, sqlName } from './sql-names.ts';
import type { Column, EventColumns, Operand, SourceField, ViewDefinition } from './types.ts';

/**
 * An aggregation's `input` is an expression in place of a field. To everything behind this file it is a field: one that no source can have,
 * since its name is `=` and the text, with a column that is computed for each batch, and by a subquery in SQL.
 */
const mark = '=';

/** The view with a field for each input, and its features reading those. Throws what `compileInput` throws. */
export function withInputs(view: ViewDefinition): ViewDefinition {
  const inputs = new Map<string, SourceField>();
  const named = <T extends Operand>(given: T): T => {
    if (!hasInput(given)) return given;
    const field = mark + given.input;
    if (!inputs.has(field))
      inputs.set(field, { name: field, type: compileInput(given.input, view).type, nullable: true });
    const { input: _, ...rest } = given;
    return { ...rest, field } as T;
  };
  const features = view.features.map((feature) => {
    const { numerator, denominator } = feature;
    if (!numerator || !denominator) return named(feature);
    return { ...named(feature), numerator: named(numerator), denominator: named(denominator) };
  });
  if (inputs.size === 0) return view;
  return { ...view, fields: [...view.fields, ...inputs.values()], features };
}

/** Throws an Error that says what is wrong with an input. */
export function compileInput(text: string, view: ViewDefinition): CompiledExpression {
  const expression = compileExpression(
    text,
    view.fields.filter(({ name }) => !isInput(name)),
    'input',
  );
  if (expression.type === 'TIMESTAMP')
    throw new Error(
      `input "${text}" is a TIMESTAMP; name the field itself, or take int(…) of it, its seconds since 1970`,
    );
  return expression;
}

export function isInput(field: string): boolean {
  return field.startsWith(mark);
}

/** For messages. */
export function fieldLabel(field: string): string {
  return isInput(field) ? `input "${field.slice(1)}"` : `field "${field}"`;
}

/** Adds the columns of the inputs to those of a batch; for a view that went through `withInputs`. */
export function inputColumns(view: ViewDefinition): (columns: EventColumns) => ReadonlyMap<string, Column> {
  const inputs = inputsOf(view);
  if (inputs.length === 0) return ({ columns }) => columns;
  return ({ count, columns }) =>
    new Map([
      ...columns,
      ...inputs.map(({ field, expression }): [string, Column] => [
        field,
        columnOf(
          expression.type,
          count,
          expression.bind((name) => columnReader(columns.get(name))),
        ),
      ]),
    ]);
}

/** The table with a column more for each input; for a view that went through `withInputs`. */
export function tableWithInputs(view: ViewDefinition, table: string): string {
  const inputs = inputsOf(view);
  if (inputs.length === 0) return table;
  const column = fieldSql(view.fields, eventColumn);
  const computed = inputs.map(({ field, expression }) => `${expression.sql(column)} AS ${sqlName(field)}`);
  return `(SELECT *, ${computed.join(', ')} FROM ${table} AS e)`;
}

function inputsOf(view: ViewDefinition) {
  return view.fields
    .filter(({ name }) => isInput(name))
    .map(({ name }) => ({ field: name, expression: compileInput(name.slice(mark.length), view) }));
}

function hasInput(feature: Operand): feature is Operand & { readonly input: string } {
  return feature.input !== undefined && feature.input !== '';
}
