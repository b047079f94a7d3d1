import { windowsOfChange } from './compose.ts';
import { asOfName, compileDerived, type DerivedProblem, derivedMax, derivedVariables } from './derived.ts';
import { compileFilter } from './expression/filter.ts';
import { compileInput, fieldLabel, isInput, withInputs } from './inputs.ts';
import type { FeatureDefinition, Operand, SourceField, ViewDefinition } from './types.ts';
import { isVectorType } from './vectors.ts';
import { windowProblem } from './windows.ts';

export type ViewProblem = { readonly path: string; readonly problem: string };

const numericOnly: ReadonlySet<string> = new Set([
  'sum',
  'mean',
  'rate',
  'variance',
  'stddev',
  'decayed_sum',
  'decayed_mean',
  'trend',
  'zscore',
]);
const fieldless: ReadonlySet<string> = new Set(['count', 'rate', 'age', 'decayed_count']);
const decaying: ReadonlySet<string> = new Set(['decayed_sum', 'decayed_count', 'decayed_mean']);
const valueFunctions: ReadonlySet<string> = new Set(['min', 'max', 'first', 'last']);
const operandFunctions: ReadonlySet<string> = new Set([
  'count',
  'sum',
  'mean',
  'rate',
  ...valueFunctions,
  'variance',
  'stddev',
  'distinct',
  'percentile',
  'entropy',
]);
const halfLifeUsMin = 1e6;
const nMax = 1_000;
const edgesMax = 128;
const limited: ReadonlySet<string> = new Set(['last_n', 'first_n', 'last_distinct_n', 'first_distinct_n', 'top_k']);
const ofVectors: ReadonlySet<string> = new Set(['last', 'first', 'count', 'age']);
const orderedNumbers: ReadonlySet<string> = new Set(['INT64', 'DOUBLE']);
const numericTypes: ReadonlySet<string> = new Set(['BOOL', 'INT64', 'DOUBLE']);
const keyTypes: ReadonlySet<string> = new Set(['STRING', 'INT64', 'BOOL']);

export const featuresMax = 1_000;

/** Everything that is wrong with a view, with its path and the remedy. */
export function checkView(given: ViewDefinition): ViewProblem[] {
  const broken = given.features.flatMap((feature) => inputProblems(feature, given));
  const view = withInputs({
    ...given,
    features: given.features.filter(({ name }) => !broken.some((one) => one.feature === name)),
  });
  const fields = new Map(view.fields.map((field) => [field.name, field]));
  const problems: ViewProblem[] = [];
  const problem = (path: string, text: string) => problems.push({ path, problem: text });
  if (view.joinKeys.length === 0) problem('keys', 'a view has at least one join key');
  if (given.features.length > featuresMax)
    problem('features', `${given.features.length} features are over the limit of ${featuresMax}; make two views`);
  const keyNames = new Set<string>();
  for (const key of view.joinKeys) {
    if (keyNames.has(key.name)) problem(`keys.${key.name}`, `two join keys are named "${key.name}"`);
    keyNames.add(key.name);
    const field = fields.get(key.field);
    if (!field)
      problem(
        `keys.${key.name}`,
        `join key "${key.name}" reads field "${key.field}", which source "${view.source}" does not have; fields: ${names(view)}`,
      );
    else if (field.type !== key.type)
      problem(
        `keys.${key.name}`,
        `join key "${key.name}" is ${key.type} and field "${key.field}" is ${field.type}; make them the same`,
      );
    if (!keyTypes.has(key.type))
      problem(`keys.${key.name}`, `a join key cannot be ${key.type}; use STRING, INT64 or BOOL`);
  }
  if (given.features.length === 0) problem('features', 'a view has at least one feature');
  const seen = new Set<string>();
  for (const { name } of given.features) {
    if (seen.has(name)) problem(`features.${name}`, `two features are named "${name}"`);
    seen.add(name);
  }
  for (const one of broken) problem(`features.${one.feature}.input`, one.problem);
  for (const feature of view.features) {
    for (const found of featureProblems(feature, fields, view))
      problem(`features.${feature.name}.${found.path}`, found.problem);
  }
  for (const { name, problem: text } of derivedProblems(view, seen)) problem(`derived.${name}`, text);
  return problems;
}

function derivedProblems(view: ViewDefinition, names: ReadonlySet<string>): readonly DerivedProblem[] {
  const { derived = [] } = view;
  const taken = new Set(names);
  const problems = derived.flatMap(({ name }) => {
    const problem =
      name === asOfName
        ? '"as_of" is the read time; use another name'
        : taken.has(name)
          ? `two features are named "${name}"`
          : '';
    taken.add(name);
    return problem === '' ? [] : [{ name, problem }];
  });
  if (derived.length > derivedMax)
    problems.push({
      name: '',
      problem: `${derived.length} derived features are over the limit of ${derivedMax}; make two views`,
    });
  return [...problems, ...compileDerived(derived, derivedVariables(view)).problems];
}

function featureProblems(
  feature: FeatureDefinition,
  fields: ReadonlyMap<string, SourceField>,
  view: ViewDefinition,
): ViewProblem[] {
  const composed = compositionProblems(feature);
  if (composed.length > 0) return composed;
  if (feature.function === 'ratio') return ratioProblems(feature, fields, view);
  if (feature.function === 'change') return changeProblems(feature, fields, view);
  const problems: ViewProblem[] = [];
  const field = fields.get(feature.field);
  if (feature.field === '') {
    if (!fieldless.has(feature.function))
      problems.push({ path: 'field', problem: `"${feature.function}" needs a field` });
  } else if (!field) {
    problems.push({
      path: 'field',
      problem: `source "${view.source}" has no field "${feature.field}"; fields: ${names(view)}`,
    });
  } else if (isVectorType(field.type) && !ofVectors.has(feature.function)) {
    return [
      {
        path: 'function',
        problem: `${fieldLabel(feature.field)} is ${field.type}, of which "${feature.function}" says nothing; use ${[...ofVectors].join(', ')}`,
      },
    ];
  } else if (numericOnly.has(feature.function) && !numericTypes.has(field.type)) {
    problems.push({
      path: 'field',
      problem: `"${feature.function}" needs a number and ${fieldLabel(feature.field)} is ${field.type}`,
    });
  }
  const isPercentile = feature.function === 'percentile';
  if ((isPercentile || feature.function === 'histogram') && field && !orderedNumbers.has(field.type))
    problems.push({
      path: 'field',
      problem: `"${feature.function}" needs INT64 or DOUBLE and ${fieldLabel(feature.field)} is ${field.type}`,
    });
  const { quantile } = feature;
  if (isPercentile && !(quantile !== undefined && quantile >= 0 && quantile <= 1))
    problems.push({
      path: 'quantile',
      problem: `quantile ${quantile ?? 'left out'} is not between 0 and 1; the median is 0.5`,
    });
  if (!isPercentile && quantile !== undefined)
    problems.push({ path: 'quantile', problem: `"${feature.function}" has no quantile; leave it out` });
  problems.push(...halfLifeProblems(feature), ...listProblems(feature));
  const window = windowProblem(feature.window);
  if (window !== undefined) problems.push({ path: 'window', problem: window });
  if (feature.function === 'rate' && (feature.window.t === 'lifetime' || feature.window.t === 'session'))
    problems.push({
      path: 'window',
      problem: `a rate over a ${feature.window.t} has no seconds to divide by; use a sliding or tumbling window`,
    });
  if (feature.filter !== '') {
    try {
      compileFilter(feature.filter, view.fields);
    } catch (error) {
      problems.push({ path: 'filter', problem: (error as Error).message });
    }
  }
  if (!Number.isInteger(feature.ddof) || feature.ddof < 0)
    problems.push({ path: 'ddof', problem: `ddof ${feature.ddof} is not 0 or more` });
  return problems;
}

/** What a function lacks that is made of others, and what another has too much. */
function compositionProblems(feature: FeatureDefinition): ViewProblem[] {
  const { function: fn, numerator, denominator, of, offsetUs } = feature;
  const problems: ViewProblem[] = [];
  const only = (path: string, given: unknown, owner: string) => {
    if (fn !== owner && given !== undefined)
      problems.push({ path, problem: `"${fn}" has no ${path}; leave it out, or use ${owner}` });
  };
  only('numerator', numerator, 'ratio');
  only('denominator', denominator, 'ratio');
  only('of', of, 'change');
  only('offset', offsetUs, 'change');
  if (fn === 'ratio') {
    if (!numerator) problems.push({ path: 'numerator', problem: 'a ratio needs what it divides, such as a sum' });
    if (!denominator)
      problems.push({ path: 'denominator', problem: 'a ratio needs what it divides by, such as a count' });
    if (feature.field !== '' || feature.filter !== '')
      problems.push({
        path: 'field',
        problem: 'a ratio has fields and filters above and below the line; write them there',
      });
  }
  if (fn === 'change') {
    if (of === undefined)
      problems.push({ path: 'of', problem: 'a change needs the function whose values it compares, such as mean' });
    if (offsetUs === undefined || !(offsetUs > 0))
      problems.push({ path: 'offset', problem: 'a change needs how long ago the earlier window is, such as 1d' });
    if (feature.window.t !== 'sliding' && feature.window.t !== 'tumbling')
      problems.push({
        path: 'window',
        problem: `a ${feature.window.t} has no window before it; use a sliding or tumbling window`,
      });
  }
  return problems;
}

function ratioProblems(
  { numerator, denominator, ...rest }: FeatureDefinition,
  fields: ReadonlyMap<string, SourceField>,
  view: ViewDefinition,
): ViewProblem[] {
  const window = windowProblem(rest.window);
  if (window !== undefined) return [{ path: 'window', problem: window }];
  return (Object.entries({ numerator, denominator }) as [string, Operand][]).flatMap(([path, operand]) =>
    operandProblems({ ...rest, ...operand }, fields, view).map((found) => ({
      ...found,
      path: `${path}.${found.path}`,
    })),
  );
}

function changeProblems(
  { of = 'count', offsetUs: _, ...rest }: FeatureDefinition,
  fields: ReadonlyMap<string, SourceField>,
  view: ViewDefinition,
): ViewProblem[] {
  const found = operandProblems({ ...rest, function: of }, fields, view);
  if (found.length > 0) return found;
  const earlier = windowProblem(windowsOfChange({ ...rest, offsetUs: _ ?? 0 })[1]);
  return earlier === undefined ? [] : [{ path: 'offset', problem: earlier }];
}

/** Of an aggregation that is calculated with. */
function operandProblems(
  feature: FeatureDefinition,
  fields: ReadonlyMap<string, SourceField>,
  view: ViewDefinition,
): ViewProblem[] {
  if (!operandFunctions.has(feature.function))
    return [
      {
        path: 'function',
        problem: `"${feature.function}" cannot be calculated with; use one of ${[...operandFunctions].join(', ')}`,
      },
    ];
  const problems = featureProblems(feature, fields, view);
  const type = fields.get(feature.field)?.type;
  if (problems.length === 0 && valueFunctions.has(feature.function) && type && !orderedNumbers.has(type))
    return [
      {
        path: 'field',
        problem: `${fieldLabel(feature.field)} is ${type} and numbers are calculated with; use INT64 or DOUBLE`,
      },
    ];
  return problems;
}

function inputProblems(feature: FeatureDefinition, view: ViewDefinition) {
  const { name, numerator, denominator } = feature;
  return [feature, numerator, denominator].flatMap((given) => (given ? inputProblemsOf(name, given, view) : []));
}

function inputProblemsOf(name: string, { input = '', field }: Operand, view: ViewDefinition) {
  if (input === '') return [];
  try {
    compileInput(input, view);
    if (field === '') return [];
    return [{ feature: name, problem: `has a field, "${field}", and an input; keep one` }];
  } catch (error) {
    return [{ feature: name, problem: (error as Error).message }];
  }
}

function listProblems({ function: fn, n, edges }: FeatureDefinition): ViewProblem[] {
  const problems: ViewProblem[] = [];
  if (limited.has(fn) && !(n !== undefined && Number.isInteger(n) && n >= 1 && n <= nMax))
    problems.push({
      path: 'n',
      problem: `"${fn}" of n ${n ?? 'left out'}: write how many values at most, 1 to ${nMax}`,
    });
  if (!limited.has(fn) && n !== undefined) problems.push({ path: 'n', problem: `"${fn}" has no n; leave it out` });
  if (fn !== 'histogram')
    return edges === undefined
      ? problems
      : [...problems, { path: 'edges', problem: `"${fn}" has no edges; leave them out` }];
  if (edges === undefined || edges.length < 1 || edges.length > edgesMax)
    problems.push({ path: 'edges', problem: `a histogram with ${edges?.length ?? 0} edges: write 1 to ${edgesMax}` });
  else if (edges.some((edge, i) => !Number.isFinite(edge) || edge <= (edges[i - 1] ?? Number.NEGATIVE_INFINITY)))
    problems.push({
      path: 'edges',
      problem: `edges ${edges.join(', ')} do not ascend; sort them and leave out those that come twice`,
    });
  return problems;
}

function halfLifeProblems({ function: fn, halfLifeUs }: FeatureDefinition): ViewProblem[] {
  if (!decaying.has(fn))
    return halfLifeUs === undefined
      ? []
      : [
          {
            path: 'half_life',
            problem: `"${fn}" does not decay; leave its half-life out, or use decayed_sum, decayed_count or decayed_mean`,
          },
        ];
  if (halfLifeUs !== undefined && Number.isSafeInteger(halfLifeUs) && halfLifeUs >= halfLifeUsMin) return [];
  return [
    {
      path: 'half_life',
      problem:
        halfLifeUs === undefined
          ? `"${fn}" needs a half-life, such as 1h: after it an event weighs half`
          : `a half-life of ${halfLifeUs} µs is too small; the smallest is 1s`,
    },
  ];
}

function names(view: ViewDefinition): string {
  return view.fields
    .map(({ name }) => name)
    .filter((name) => !isInput(name))
    .join(', ');
}
