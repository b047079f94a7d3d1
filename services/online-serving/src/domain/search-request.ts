import {
  compileExpression,
  dimensionOf,
  isListType,
  isVectorType,
  type Value,
  type Variable,
} from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { Metric } from './distance.ts';
import { type Matrix, valueAt } from './matrix.ts';
import type { Plan, PlannedFeature, PlannedView } from './plan.ts';
import { missingKey, type RequestKey, unknownKey } from './request.ts';

export interface SearchRequest {
  readonly featureService: string;
  readonly version: string;
  readonly feature: string;
  /** Empty: that of `entity`. */
  readonly vector: readonly number[];
  readonly entity: readonly RequestKey[];
  /** 0: 10. */
  readonly k: number;
  readonly metric: Metric;
  readonly filter: string;
  readonly exact: boolean;
}

type Keys = readonly (string | number | bigint | boolean)[];

export interface BoundSearch {
  readonly feature: PlannedFeature;
  readonly view: PlannedView;
  /** Its name in the view. */
  readonly viewFeature: string;
  readonly vector: readonly number[] | undefined;
  /** The keys of the entity whose vector is the query, in the view's order. */
  readonly entity: Keys | undefined;
  readonly k: number;
  readonly metric: Metric;
  readonly passes: ((matrix: Matrix, row: number, keys: Keys) => boolean) | undefined;
}

const kMax = 1_000;

/** Checks a search against its plan; INVALID_ARGUMENT says what is wrong and what to do. */
export function bindSearch(plan: Plan, request: SearchRequest): BoundSearch {
  const feature = plan.features.find(({ name }) => name === request.feature);
  const vectors = plan.features.filter(({ type }) => isVectorType(type)).map(({ name }) => name);
  if (!feature || !isVectorType(feature.type))
    throw refused(
      `feature service "${plan.name}" has no vector feature "${request.feature}"; vector features: ${vectors.join(', ') || 'none'}`,
    );
  const view = plan.views[feature.view] as PlannedView;
  const definition = view.definition.features[feature.featureIndex];
  if (definition?.function !== 'last')
    throw refused(
      `"${feature.name}" is a ${definition?.function} of vectors, and the last ones are searched; use a last`,
    );
  const { joinKeys } = view.definition;
  const foreign =
    plan.keys.find(({ name }) => !joinKeys.some((key) => key.name === name)) ??
    joinKeys.find(({ name }) => !plan.keys.some((key) => key.name === name));
  if (foreign)
    throw refused(
      `the join keys of feature service "${plan.name}" are not those of entity "${view.definition.entity}" of "${feature.name}": "${foreign.name}" is in one alone; search a service of that entity`,
    );
  const k = request.k === 0 ? 10 : request.k;
  if (!(Number.isInteger(k) && k >= 1 && k <= kMax)) throw refused(`k ${request.k} is not 1 to ${kMax}`);
  if (request.vector.length > 0 === request.entity.length > 0)
    throw refused('a search is by a vector or by an entity; give one of them');
  return {
    feature,
    view,
    viewFeature: definition.name,
    vector: request.vector.length > 0 ? queryOf(feature, request) : undefined,
    entity: request.entity.length > 0 ? entityOf(plan, view, request.entity) : undefined,
    k,
    metric: request.metric,
    passes: request.filter === '' ? undefined : compilePasses(plan, view, request.filter),
  };
}

function queryOf({ name, type }: PlannedFeature, { vector, metric }: SearchRequest): readonly number[] {
  const dimension = dimensionOf(type);
  if (vector.length !== dimension)
    throw new MeshError(
      'WRONG_DIMENSION',
      `the query has ${vector.length} numbers and feature "${name}" is ${type}; send ${dimension}`,
      { feature: name, dimension, given: vector.length },
    );
  const rounded = vector.map(Math.fround);
  if (!rounded.every(Number.isFinite))
    throw new MeshError('NOT_FINITE', 'a number of the query is not a finite float32', { feature: name });
  if (metric === 'cosine' && rounded.every((number) => number === 0))
    throw refused('the query is all zeros, which has no angle to anything; use l2 or dot');
  return rounded;
}

function entityOf(plan: Plan, view: PlannedView, given: readonly RequestKey[]): Keys {
  for (const { name } of given) if (!plan.keys.some((key) => key.name === name)) throw unknownKey(plan, name);
  return view.definition.joinKeys.map(({ name }) => {
    const column = given.find((key) => key.name === name);
    if (!column) throw missingKey(plan, name);
    const [value, ...more] = column.values;
    if (value === undefined || more.length > 0)
      throw refused(`join key "${name}" has ${column.values.length} values; give that of one entity`);
    return value;
  });
}

/** CEL over the features as they are served, and the join keys. */
function compilePasses(plan: Plan, view: PlannedView, filter: string): NonNullable<BoundSearch['passes']> {
  const keys = view.definition.joinKeys;
  const features = plan.features.filter(({ type }) => !isListType(type));
  const variables = [
    ...keys.map(({ name, type }): Variable => ({ name, type })),
    ...features.map(({ name, type }) => ({ name, type }) as Variable),
  ];
  const expression = (() => {
    try {
      return compileExpression(filter, variables, 'filter');
    } catch (thrown) {
      throw refused((thrown as Error).message);
    }
  })();
  if (expression.type !== 'BOOL') throw refused(`filter "${filter}" is a ${expression.type}, not a condition`);
  const evaluate = expression.over(expression.uses);
  const reads = expression.uses.map((name) => {
    const feature = features.find((each) => each.name === name);
    const at = keys.findIndex((key) => key.name === name);
    const type = feature?.type ?? keys[at]?.type;
    const isWhole = type === 'INT64' || type === 'TIMESTAMP';
    return (matrix: Matrix, row: number, own: Keys): Value => {
      const value = feature ? valueAt(matrix, row, feature.position) : (own[at] ?? null);
      return value !== null && isWhole ? BigInt(value as number) : (value as Value);
    };
  });
  return (matrix, row, own) => evaluate(reads.map((read) => read(matrix, row, own))) === true;
}

function refused(message: string): MeshError {
  return new MeshError('INVALID_ARGUMENT', message, {});
}
