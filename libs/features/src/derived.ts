import { type CompiledExpression, compileWith } from './expression/expression.ts';
import { viewFeatureTypes } from './feature-types.ts';
import { elementOf, isListType } from './list-codec.ts';
import type { DerivedDefinition, FeatureType, FieldType, SourceField, ViewDefinition } from './types.ts';
import { isVectorType } from './vectors.ts';

/** The read time in derived features. */
export const asOfName = 'as_of';
export const derivedMax = 256;

/** A name that derived features may use; of a list, it may not. */
export interface DerivedVariable {
  readonly name: string;
  readonly type: FeatureType;
}

export interface CompiledDerived {
  readonly name: string;
  readonly expression: CompiledExpression;
}

export interface DerivedProblem {
  readonly name: string;
  readonly problem: string;
}

/**
 * Derived features over variables and over each other, in an order in which each comes after those that it uses. What is wrong with one is a
 * problem, and it is left out; so are those that use it.
 */
export function compileDerived(
  definitions: readonly DerivedDefinition[],
  variables: readonly DerivedVariable[],
): { readonly derived: readonly CompiledDerived[]; readonly problems: readonly DerivedProblem[] } {
  const lists = new Map(variables.filter(({ type }) => elementOf(type)).map(({ name, type }) => [name, type]));
  const types = new Map<string, FieldType>();
  for (const { name, type } of variables) if (!isListType(type) && !isVectorType(type)) types.set(name, type);
  const byName = new Map(definitions.map((definition) => [definition.name, definition]));
  const derived: CompiledDerived[] = [];
  const problems: DerivedProblem[] = [];
  const seen = new Set<string>();
  const known = () => [...types.keys(), ...[...byName.keys()].filter((name) => !types.has(name))];

  function compile({ name, expression: text }: DerivedDefinition, path: readonly string[]): void {
    seen.add(name);
    const typeOf = (used: string): FieldType | undefined => {
      const other = byName.get(used);
      if (lists.has(used))
        throw new Error(
          `"${used}" is ${lists.get(used)}, and expressions take single values; take numbers of the ${isVectorType(lists.get(used) ?? '') ? 'vector' : 'list'}'s events`,
        );
      if (types.has(used) || !other) return types.get(used);
      const within = [...path, name];
      if (within.includes(used))
        throw new Error(
          `goes round in a circle: ${[...within.slice(within.indexOf(used)), used].join(' -> ')}; break it`,
        );
      if (!seen.has(used)) compile(other, within);
      if (!types.has(used)) throw new Error(`"${used}" has a problem of its own`);
      return types.get(used);
    };
    try {
      const expression = compileWith(text, 'expression', typeOf, known);
      derived.push({ name, expression });
      types.set(name, expression.type);
    } catch (error) {
      problems.push({ name, problem: (error as Error).message });
    }
  }

  for (const definition of definitions) if (!seen.has(definition.name)) compile(definition, []);
  return { derived, problems };
}

/** What the derived features of a view can use: its features and the read time. */
export function derivedVariables(view: ViewDefinition): DerivedVariable[] {
  const types = viewFeatureTypes(view);
  return [
    ...view.features.map(({ name }, at): DerivedVariable => ({ name, type: types[at] ?? 'DOUBLE' })),
    { name: asOfName, type: 'TIMESTAMP' },
  ];
}

/** The features of a view that can be expected something of, derived ones too, as fields: those that are single values. */
export function checkableFeatures(view: ViewDefinition): SourceField[] {
  const derived = derivedOf(view).map(({ name, expression }) => ({ name, type: expression.type, nullable: true }));
  const plain = derivedVariables(view).flatMap(({ name, type }) =>
    name === asOfName || isListType(type) || isVectorType(type) ? [] : [{ name, type, nullable: true }],
  );
  return [...plain, ...derived];
}

/** The derived features of a view that `checkView` has passed. */
export function derivedOf(view: ViewDefinition): readonly CompiledDerived[] {
  return view.derived === undefined ? [] : compileDerived(view.derived, derivedVariables(view)).derived;
}
