import { asOfName, derivedOf, derivedVariables, type Scalar, type Value } from '@millrace/features';
import { toValue } from '../domain/feature-columns.ts';
import type { EvaluateAsOf } from './as-of.ts';

/** The same with a view's derived features, computed by their closures from the features that they use. */
export function withDerived(evaluate: EvaluateAsOf): EvaluateAsOf {
  return async (view, features, samples, options) => {
    const derived = derivedOf(view);
    const wanted = wantedOf(derived, features);
    if (!derived.some(({ name }) => wanted.has(name))) return evaluate(view, features, samples, options);
    const base = view.features.map(({ name }) => name).filter((name) => wanted.has(name));
    const results = await evaluate(view, base, samples, options);
    const names = [...base, asOfName, ...derived.map(({ name }) => name)];
    const types = new Map(derivedVariables(view).map(({ name, type }) => [name, type]));
    const closures = derived.map(({ name, expression }) => (wanted.has(name) ? expression.over(names) : () => null));
    return results.map(({ values, found }, at) => {
      const row: Value[] = [
        ...values.map((value, place) => toValue(types.get(base[place] ?? ''), value)),
        BigInt(samples[at]?.asOfUs ?? 0),
      ];
      for (const closure of closures) row.push(closure(row));
      const answered = (feature: string) => {
        const place = base.indexOf(feature);
        return place >= 0 ? (values[place] ?? null) : toScalar(row[names.indexOf(feature)] ?? null);
      };
      return { values: features.map(answered), found };
    });
  };
}

/** Names with everything that they rest on. */
function wantedOf(derived: ReturnType<typeof derivedOf>, features: readonly string[]): ReadonlySet<string> {
  const wanted = new Set(features);
  for (const { name, expression } of derived.toReversed())
    if (wanted.has(name)) for (const use of expression.uses) wanted.add(use);
  return wanted;
}

function toScalar(value: Value): Scalar {
  if (typeof value !== 'bigint') return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
