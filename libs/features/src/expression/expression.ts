import type { FieldType, SchemaType } from '../types.ts';
import { isVectorType } from '../vectors.ts';
import { compileText, ExpressionError } from './compile.ts';
import type { Evaluate, Node, Readers, Value } from './node.ts';

/** A name that an expression can use. */
export interface Variable {
  readonly name: string;
  /** A vector may not be used. */
  readonly type: SchemaType;
}

/** An expression, parsed, type-checked against its variables, and compiled to a closure and to ClickHouse SQL that give the same value. */
export interface CompiledExpression {
  readonly text: string;
  readonly type: FieldType;
  /** The variables that it uses, in the order of their first use. */
  readonly uses: readonly string[];
  /** Resolves the variables once; what comes back is called with a row's number. */
  bind(readers: Readers): Evaluate;
  /** A closure over the values of `names`, in that order. */
  over(names: readonly string[]): (values: readonly Value[]) => Value;
  /** SQL of type Nullable(Bool, Int64, Float64 or String), a TIMESTAMP as microseconds; `column` names a variable's value likewise. */
  sql(column: (name: string) => string): string;
}

/** Throws an ExpressionError that says what is wrong, where, and what to do. `what` it is for, as `filter`. */
export function compileExpression(
  text: string,
  variables: readonly Variable[],
  what = 'expression',
): CompiledExpression {
  const types = new Map(variables.map(({ name, type }) => [name, type]));
  return compileWith(
    text,
    what,
    (name) => {
      const type = types.get(name);
      if (type && isVectorType(type)) throw new Error(`"${name}" is ${type}, and expressions take single values`);
      return type as FieldType | undefined;
    },
    () => [...types.keys()],
  );
}

/** The same with variables whose types are asked for as they come; `typeOf` may throw an Error that says why a name cannot be used. */
export function compileWith(
  text: string,
  what: string,
  typeOf: (name: string) => FieldType | undefined,
  known: () => readonly string[],
): CompiledExpression {
  const uses = new Set<string>();
  const variable = (name: string): Node | undefined => {
    const type = typeOf(name);
    if (type === undefined) return undefined;
    uses.add(name);
    return { type, bind: (readers) => readers(name), sql: (scope) => scope.column(name) };
  };
  const root = compileText(text, what, variable, () => known().join(', ') || 'none');
  if (root.type === 'NULL') throw new ExpressionError(`${what} "${text}" is always null; leave it out`);
  return { text, type: root.type, uses: [...uses], ...forms(root) };
}

function forms(root: Node): Pick<CompiledExpression, 'bind' | 'over' | 'sql'> {
  return {
    bind: root.bind,
    over(names) {
      const frame: { values: readonly Value[] } = { values: [] };
      const places = new Map(names.map((name, place) => [name, place]));
      const evaluate = root.bind((name) => {
        const place = places.get(name) ?? -1;
        return () => frame.values[place] ?? null;
      });
      return (values) => {
        frame.values = values;
        return evaluate(0);
      };
    },
    sql(column) {
      let names = 0;
      const sql = root.sql({ column, fresh: () => `__x${++names}` });
      return root.type === 'BOOL' ? `CAST(${sql} AS Nullable(Bool))` : sql;
    },
  };
}
