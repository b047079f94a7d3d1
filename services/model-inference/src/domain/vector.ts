import { definitions, type inference, serving } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import type { FeaturesRead } from './features-read.ts';

/** The vector of N rows by C columns, and what each value is worth. */
export interface Vectors {
  readonly rows: number;
  readonly names: readonly string[];
  /** Row-major; NaN is null. */
  readonly values: Float64Array;
  readonly statuses: Uint8Array;
  /** Microseconds; −1 where a value has no age. */
  readonly agesUs: Float64Array;
}

const { PRESENT, STALE, DEFAULTED } = serving.ValueStatus;

export interface ReadFeaturesOf {
  readonly response: FeaturesRead;
  /** The names whose stale values are nulls, which an integer's answer cannot tell. */
  readonly nulledWhenStale: ReadonlySet<string>;
}

/** By service: the names of the features that are null once they are stale. */
const nulledByService = new WeakMap<definitions.FeatureService, ReadonlySet<string>>();
const noNames: ReadonlySet<string> = new Set();

/** The features of a service that are null once they are stale; the same set for the same service. */
export function nulledWhenStale(service: definitions.FeatureService | undefined): ReadonlySet<string> {
  if (!service) return noNames;
  const known = nulledByService.get(service);
  if (known) return known;
  const nulled = service.features.filter(({ staleAction }) => staleAction === definitions.StaleAction.NULL);
  const names = new Set(nulled.map(({ alias, view, feature }) => alias || `${view}__${feature}`));
  nulledByService.set(service, names);
  return names;
}

/** Puts features and request data in the order of the model's columns; a read time for each row. */
export function assembleVectors(
  model: { readonly name: string; readonly spec: definitions.Model },
  features: ReadFeaturesOf | undefined,
  request: readonly inference.RequestColumn[],
  asOfUs: Float64Array,
): Vectors {
  const plan = planOf(model.spec, features?.response.features ?? noFeatures);
  const rows = asOfUs.length;
  const cells = rows * plan.names.length;
  const vectors: Vectors = {
    rows,
    names: plan.names,
    values: new Float64Array(cells),
    statuses: new Uint8Array(cells).fill(PRESENT),
    agesUs: new Float64Array(cells).fill(-1),
  };
  for (const [at, column] of plan.columns.entries()) {
    if (column.t === 'request') takeRequest(vectors, at, column.name, model.name, request);
    else if (features && column.t === 'feature') takeFeature(vectors, at, column, features, asOfUs);
    else throw missing(column);
    if (column.fill !== undefined) fill(vectors, at, column.fill);
  }
  return vectors;
}

/** Where a column of a model comes from. */
type Column = { readonly name: string; readonly fill: number | undefined } & (
  | { readonly t: 'request' }
  | { readonly t: 'missing' }
  | { readonly t: 'not-numeric'; readonly type: string }
  | FeaturePlace
);
type FeaturePlace = {
  readonly t: 'feature';
  readonly name: string;
  /** Among all features; */
  readonly index: number;
  /** in its block, of so many columns; */
  readonly isDouble: boolean;
  readonly column: number;
  readonly width: number;
  readonly view: number;
};
type Plan = { readonly names: readonly string[]; readonly columns: readonly Column[] };

const noFeatures: readonly serving.FeatureColumn[] = [];
/** By the columns of an answer, which are the same list from one answer to the next, and by model. */
const plans = new WeakMap<readonly serving.FeatureColumn[], WeakMap<definitions.Model, Plan>>();

function planOf(spec: definitions.Model, features: readonly serving.FeatureColumn[]): Plan {
  const bySpec = plans.get(features) ?? new WeakMap<definitions.Model, Plan>();
  plans.set(features, bySpec);
  const known = bySpec.get(spec);
  if (known) return known;
  const indexes = new Map(features.map(({ name }, index) => [name, index]));
  const columns = spec.inputColumns.map(({ source, fill }): Column => {
    const name = source?.value ?? '';
    if (source?.$case !== 'feature') return { t: 'request', name, fill };
    const index = indexes.get(name) ?? -1;
    const feature = features[index];
    if (!feature) return { t: 'missing', name, fill };
    const { block, column, view, type } = feature;
    if (block > 2) return { t: 'not-numeric', name, fill, type };
    const width = features.filter((other) => other.block === block).length;
    return { t: 'feature', name, fill, index, isDouble: block === 1, column, width, view };
  });
  const plan = { names: columns.map(({ name }) => name), columns };
  bySpec.set(spec, plan);
  return plan;
}

function missing(column: Column): MeshError {
  const { name } = column;
  if (column.t === 'not-numeric')
    return new MeshError('WRONG_TENSOR_TYPE', `feature "${name}" is ${column.type} and a model's vector is numeric`, {
      feature: name,
    });
  return new MeshError(
    'NOT_READY',
    `the feature service does not give feature "${name}" that the model was registered with; apply them together`,
    { feature: name },
  );
}

function takeFeature(
  vectors: Vectors,
  at: number,
  { name, index, isDouble, column, width, view }: FeaturePlace,
  { response, nulledWhenStale: nulled }: ReadFeaturesOf,
  asOfUs: Float64Array,
): void {
  const { values, statuses, agesUs, rows } = vectors;
  const isNulled = nulled.has(name);
  const given = isDouble ? response.doubles : response.int64s;
  const all = response.features.length;
  const times = response.views[view]?.eventTimesUs;
  for (let row = 0, to = at; row < rows; row++, to += vectors.names.length) {
    const status = response.statuses[row * all + index] ?? 0;
    const isValue = status === PRESENT || status === DEFAULTED || (status === STALE && !isNulled);
    values[to] = isValue ? (given[row * width + column] ?? Number.NaN) : Number.NaN;
    statuses[to] = status;
    const eventTimeUs = times?.[row] ?? 0;
    agesUs[to] = eventTimeUs === 0 ? -1 : Math.max(0, (asOfUs[row] ?? 0) - eventTimeUs);
  }
}

function takeRequest(
  vectors: Vectors,
  at: number,
  name: string,
  model: string,
  request: readonly inference.RequestColumn[],
): void {
  const column = request.find((given) => given.name === name);
  if (!column)
    throw new MeshError(
      'MISSING_REQUEST_DATA',
      `model "${model}" needs request data "${name}"; given: ${request.map((given) => given.name).join(', ') || 'none'}`,
      { model, field: name },
    );
  if (column.doubles.length !== vectors.rows) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `request data "${name}" has ${column.doubles.length} values for ${vectors.rows} rows`,
      { field: name, values: column.doubles.length, rows: vectors.rows },
    );
  }
  for (let row = 0; row < vectors.rows; row++)
    vectors.values[row * vectors.names.length + at] = column.doubles[row] ?? Number.NaN;
}

function fill(vectors: Vectors, at: number, value: number): void {
  for (let row = 0; row < vectors.rows; row++) {
    const place = row * vectors.names.length + at;
    if (Number.isNaN(vectors.values[place])) vectors.values[place] = value;
  }
}
