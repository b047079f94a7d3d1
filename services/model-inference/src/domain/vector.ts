import { definitions, type inference, serving } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';

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
  readonly response: serving.GetFeaturesResponse;
  /** The names whose stale values are nulls, which an integer's answer cannot tell. */
  readonly nulledWhenStale: ReadonlySet<string>;
}

/** The features of a service that are null once they are stale. */
export function nulledWhenStale(service: definitions.FeatureService | undefined): ReadonlySet<string> {
  const nulled = (service?.features ?? []).filter(({ staleAction }) => staleAction === definitions.StaleAction.NULL);
  return new Set(nulled.map(({ alias, view, feature }) => alias || `${view}__${feature}`));
}

/** Puts features and request data in the order of the model's columns. */
export function assembleVectors(
  model: { readonly name: string; readonly spec: definitions.Model },
  features: ReadFeaturesOf | undefined,
  request: readonly inference.RequestColumn[],
  rows: number,
  asOfUs: (row: number) => number,
): Vectors {
  const columns = model.spec.inputColumns;
  const vectors: Vectors = {
    rows,
    names: columns.map(({ source }) => source?.value ?? ''),
    values: new Float64Array(rows * columns.length),
    statuses: new Uint8Array(rows * columns.length).fill(PRESENT),
    agesUs: new Float64Array(rows * columns.length).fill(-1),
  };
  for (const [at, column] of columns.entries()) {
    if (column.source?.$case === 'feature') takeFeature(vectors, at, column.source.value, features, asOfUs);
    else takeRequest(vectors, at, column.source?.value ?? '', model.name, request);
    if (column.fill !== undefined) fill(vectors, at, column.fill);
  }
  return vectors;
}

function takeFeature(
  vectors: Vectors,
  at: number,
  name: string,
  features: ReadFeaturesOf | undefined,
  asOfUs: (row: number) => number,
): void {
  const response = features?.response;
  const index = response?.features.findIndex((feature) => feature.name === name) ?? -1;
  const feature = response?.features[index];
  if (!response || !feature)
    throw new MeshError(
      'NOT_READY',
      `the feature service does not give feature "${name}" that the model was registered with; apply them together`,
      { feature: name },
    );
  if (feature.block > 2)
    throw new MeshError('WRONG_TENSOR_TYPE', `feature "${name}" is ${feature.type} and a model's vector is numeric`, {
      feature: name,
    });
  const width = response.features.filter(({ block }) => block === feature.block).length;
  const isNulled = features?.nulledWhenStale.has(name) ?? false;
  const times = response.views[feature.view]?.eventTimesUs ?? [];
  for (let row = 0; row < vectors.rows; row++) {
    const status = response.statuses[row * response.features.length + index] ?? 0;
    const place = row * width + feature.column;
    const value = feature.block === 1 ? response.doubles[place] : Number(response.int64s[place]);
    const isValue = status === PRESENT || status === DEFAULTED || (status === STALE && !isNulled);
    const to = row * vectors.names.length + at;
    vectors.values[to] = isValue ? (value ?? Number.NaN) : Number.NaN;
    vectors.statuses[to] = status;
    const eventTimeUs = Number(times[row] ?? 0n);
    vectors.agesUs[to] = eventTimeUs === 0 ? -1 : Math.max(0, asOfUs(row) - eventTimeUs);
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
