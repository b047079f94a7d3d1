import { type ASTNode, Environment, type ParseResult } from '@marcbachmann/cel-js';
import { MeshError } from '@millrace/kernel';

/** What a deployment's expressions see of a request, or of one of its rows. */
export interface TrafficRequest {
  /** Metadata or HTTP headers, their names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** The row's entity keys as text. */
  readonly keys: ReadonlyMap<string, string>;
  /** The row's request data. */
  readonly data: ReadonlyMap<string, number>;
  /** Parameters of a request of the Open Inference Protocol. */
  readonly parameters: ReadonlyMap<string, unknown>;
  /** Empty: none. */
  readonly predictionKey: string;
}

/** How a deployment tells units and requests apart. */
export interface TrafficSpec {
  /** Its name, for messages. */
  readonly name: string;
  /** CEL, a string; empty: whoever calls says what the unit is. */
  readonly unit: string;
  readonly rules: readonly { readonly name: string; readonly when: string }[];
}

export interface TrafficRules {
  /** The declared unit, or `fallback()` where none is declared. INVALID_ARGUMENT when the request does not have what it is made of. */
  unitOf(request: TrafficRequest, fallback: () => string): string;
  /** The first rule that matches, from 0. */
  ruleOf(request: TrafficRequest, unit: string): number | undefined;
  /** What each rule says of the request, for people. */
  verdicts(request: TrafficRequest, unit: string): readonly { readonly matches: boolean; readonly problem: string }[];
}

export interface TrafficProblem {
  readonly field: string;
  readonly message: string;
}

const rulesMax = 32;
const lengthMax = 2_000;
const ruleName = /^[a-z][a-z0-9_-]{0,62}$/;

const unitVariables = {
  headers: 'map<string, string>',
  keys: 'map<string, string>',
  data: 'map<string, double>',
  parameters: 'map<string, dyn>',
  prediction_key: 'string',
} as const;
const ruleVariables = { ...unitVariables, unit: 'string' } as const;

const limits = { maxAstNodes: 500, maxDepth: 32 };
const environmentOf = (variables: Readonly<Record<string, string>>) =>
  Object.entries(variables).reduce(
    (environment, [name, type]) => environment.registerVariable(name, type),
    new Environment({ limits }),
  );

/** What is wrong with a deployment's expressions and names: the field, what it is and what it may be. */
export function trafficProblems({ unit, rules }: TrafficSpec): TrafficProblem[] {
  const problems: TrafficProblem[] = [];
  const report = (field: string, message: string) => problems.push({ field, message });
  if (unit !== '') checkExpression(unit, 'string', unitVariables, (message) => report('unit', message));
  if (rules.length > rulesMax) report('rules', `${rules.length} rules are over the limit of ${rulesMax}`);
  const names = new Set<string>();
  for (const [index, { name, when }] of rules.entries()) {
    if (!ruleName.test(name)) report(`rules.${index}.name`, `"${name}" is no name of a rule; use [a-z][a-z0-9_-]*`);
    if (names.has(name)) report(`rules.${index}.name`, `there are two rules "${name}"`);
    names.add(name);
    checkExpression(when, 'bool', ruleVariables, (message) => report(`rules.${index}.when`, message));
  }
  return problems;
}

function checkExpression(
  text: string,
  wanted: 'string' | 'bool',
  variables: Readonly<Record<string, string>>,
  report: (message: string) => void,
): void {
  if (text.length > lengthMax) {
    report(`the expression has ${text.length} characters, over the limit of ${lengthMax}`);
    return;
  }
  const environment = environmentOf(variables);
  const { valid, type, error } = environment.check(text);
  const what = `expression "${text}"`;
  const names = `it may use ${Object.keys(variables).join(', ')}`;
  if (!valid) report(`${what} cannot be read: ${error?.message.split('\n')[0]}; ${names}`);
  else if (type !== wanted && type !== 'dyn') report(`${what} is ${type}; it must be ${wanted}; ${names}`);
  // the library's regular expressions are JavaScript's: a caller's header could hold the server up for minutes
  else if (callsOf(environment.parse(text).ast).includes('matches'))
    report(`${what} uses matches(), which is not available here; use startsWith, endsWith, contains or in`);
}

function callsOf(node: unknown): string[] {
  if (Array.isArray(node)) return node.flatMap(callsOf);
  if (typeof node !== 'object' || node === null || !('op' in node)) return [];
  const { op, args } = node as ASTNode;
  const own = (op === 'call' || op === 'rcall') && typeof args[0] === 'string' ? [args[0]] : [];
  return [...own, ...callsOf(args)];
}

/** Compiles what `trafficProblems` has nothing against; a call takes about half a microsecond an expression. */
export function compileTrafficRules({ name, unit, rules }: TrafficSpec): TrafficRules {
  const unitOf = unit === '' ? undefined : environmentOf(unitVariables).parse(unit);
  const environment = environmentOf(ruleVariables);
  const tests = rules.map(({ when }) => environment.parse(when));
  return {
    unitOf(request, fallback) {
      if (!unitOf) return fallback();
      const [value, problem] = evaluated(unitOf, variablesOf(request));
      if (typeof value === 'string' && value !== '') return value;
      const why = problem ?? (value === '' ? 'it is empty' : `it is ${typeof value}, not a string`);
      throw new MeshError(
        'INVALID_ARGUMENT',
        `deployment "${name}" sends traffic by the unit ${unit}, and the request does not have it: ${why}`,
        { deployment: name, unit },
      );
    },
    ruleOf(request, value) {
      if (tests.length === 0) return undefined;
      const variables = { ...variablesOf(request), unit: value };
      const found = tests.findIndex((test) => evaluated(test, variables)[0] === true);
      return found < 0 ? undefined : found;
    },
    verdicts(request, value) {
      const variables = { ...variablesOf(request), unit: value };
      return tests.map((test) => {
        const [matches, problem = ''] = evaluated(test, variables);
        return { matches: matches === true, problem };
      });
    },
  };
}

function variablesOf({ headers, keys, data, parameters, predictionKey }: TrafficRequest) {
  return { headers, keys, data, parameters, prediction_key: predictionKey };
}

/** The value, or why there is none. */
function evaluated(expression: ParseResult, variables: Record<string, unknown>): [value: unknown, problem?: string] {
  try {
    return [expression(variables)];
  } catch (thrown) {
    return [undefined, (thrown as Error).message.split('\n')[0] ?? ''];
  }
}
