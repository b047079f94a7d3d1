import type { definitions, inference, serving } from '@millrace/contracts';
import { MeshError, newIds } from '@millrace/kernel';
import { checkInputs } from '../domain/check-inputs.ts';
import type { FeaturesRead } from '../domain/features-read.ts';
import type { Tensor } from '../domain/tensor.ts';
import type { Vectors } from '../domain/vector.ts';
import { assignRows, type CallHeaders, type Group, keyText, type ReadyModel } from './assign-rows.ts';
import type { DriftMonitor, RowOutlier } from './drift-monitor.ts';
import type { Expose } from './exposures.ts';
import type { ModelBook } from './model-book.ts';
import { type Caller, type ReadVectorsDeps, readVectors } from './read-vectors.ts';
import { type CallRoute, isServerFault } from './rollouts.ts';
import type { ShadowCaller } from './shadow-call.ts';

/** What is kept of a model's predictions before they are answered; a value of each list, or a row of each matrix, for each prediction. */
export interface PredictionRecords {
  readonly deployment: string;
  readonly model: string;
  readonly modelVersion: string;
  readonly featureService: string;
  readonly featureServiceVersion: string;
  readonly predictedUs: number;
  readonly ids: readonly string[];
  readonly keys: readonly string[];
  readonly scores: readonly number[];
  readonly asOfUs: readonly number[];
  readonly vectors: Vectors;
  readonly entity: readonly { readonly name: string; readonly values: readonly string[] }[];
}

/** Resolves once the records are durable; gives up when the signal aborts. */
export type KeepPredictions = (records: readonly PredictionRecords[], signal: AbortSignal) => Promise<void>;

/** Sends what was just answered to the rollout's shadow, if there is one. Returns at once. */
export type ShadowPredictions = (
  route: CallRoute,
  parts: readonly Part[],
  unitOf: (row: number) => string,
  asOfByRowUs: Float64Array,
  predict: (model: ReadyModel, members: readonly number[], caller: ShadowCaller) => Promise<Part>,
) => void;

export interface PredictDeps extends ReadVectorsDeps {
  readonly book: ModelBook;
  readonly deployment: (name: string) => definitions.Deployment | undefined;
  readonly deployments: () => readonly string[];
  /** How the deployment's rollout routes a call; undefined without one. */
  readonly rollout: (deployment: string) => CallRoute | undefined;
  readonly keep: KeepPredictions;
  readonly expose: Expose;
  readonly nowUs: () => number;
  readonly shadow: ShadowPredictions;
  readonly limits: { readonly rowsMax: number };
  readonly onPredictions: (model: ReadyModel, rows: number, ms: number) => void;
  readonly onFailed: (model: ReadyModel, thrown: unknown) => void;
  /** How far out each row is, of a model with a training profile. */
  readonly watch: DriftMonitor['predicted'];
}

export type Predict = (
  request: inference.PredictRequest,
  caller: Caller & CallHeaders,
) => Promise<inference.PredictResponse>;

export function createPredict(deps: PredictDeps): Predict {
  return async (request, caller) => {
    const startedMs = performance.now();
    const deployment = deps.deployment(request.deployment);
    if (!deployment) throw unknownDeployment(request.deployment, deps.deployments());
    const rows = rowsOf(request, deps.limits.rowsMax);
    const nowUs = deps.nowUs();
    const asOfByRowUs = asOfOf(request, rows, nowUs);
    const route = deps.rollout(request.deployment);
    const { groups, to } = assignRows(deployment, request, rows, caller, deps.book, route);
    for (const { model, members } of groups) for (const row of members) deps.expose(request.deployment, to(row), model);
    const parts = await Promise.all(
      groups.map((group) => counted(deps, group, () => predictGroup(deps, group, request, asOfByRowUs, caller))),
    );
    const records = parts.map((part) => recordsOf(part, request, asOfByRowUs, nowUs));
    await deps.keep(records, caller.signal);
    if (route)
      deps.shadow(
        route,
        parts.filter((part) => part.route !== undefined),
        (row) => to(row).unit,
        asOfByRowUs,
        (model, members, shadowCaller) => {
          const group = { model, members, route: undefined };
          return predictGroup(deps, group, request, asOfByRowUs, shadowCaller);
        },
      );
    const tookMs = performance.now() - startedMs;
    for (const part of parts) deps.onPredictions(part.model, part.members.length, tookMs);
    const outliers = parts.map(({ model, vectors, scores }) => deps.watch(model, vectors, scores));
    return toResponse(parts, records, outliers, rows, request.omitExplanation);
  };
}

/** When the features of each row are read. */
function asOfOf({ asOfUs, asOfUsByRow }: inference.PredictRequest, rows: number, nowUs: number): Float64Array {
  if (asOfUsByRow.length > 0) return Float64Array.from(asOfUsByRow, Number);
  return new Float64Array(rows).fill(Number(asOfUs) || nowUs);
}

export function unknownDeployment(deployment: string, deployments: readonly string[]): MeshError {
  return new MeshError(
    'UNKNOWN_DEPLOYMENT',
    `there is no deployment "${deployment}"; deployments: ${deployments.join(', ') || 'none yet'}`,
    { deployment },
  );
}

type RowsOfRequest = Pick<inference.PredictRequest, 'keys' | 'requestData' | 'asOfUsByRow' | 'predictionKeys'>;

/** How many rows a request has. */
export function rowsOf(request: RowsOfRequest, rowsMax: number): number {
  const lengths: [name: string, values: number][] = [
    ...request.keys.map((key): [string, number] => [`key "${key.name}"`, keyLength(key)]),
    ...request.requestData.map(({ name, doubles }): [string, number] => [`request data "${name}"`, doubles.length]),
  ];
  const rows = lengths[0]?.[1] ?? 0;
  if (rows === 0) throw new MeshError('INVALID_ARGUMENT', 'the request has no rows; give keys or request data', {});
  if (rows > rowsMax)
    throw new MeshError(
      'TOO_MANY_ROWS',
      `${rows} rows are over the limit of ${rowsMax}; send them in several requests`,
      { rows, limit: rowsMax },
    );
  if (request.asOfUsByRow.length > 0) lengths.push(['as_of_us_by_row', request.asOfUsByRow.length]);
  if (request.predictionKeys.length > 0) lengths.push(['prediction_keys', request.predictionKeys.length]);
  for (const [field, values] of lengths) {
    if (values !== rows)
      throw new MeshError(
        'INVALID_ARGUMENT',
        `${field} has ${values} values for the ${rows} of ${lengths[0]?.[0]}; give one for each row`,
        { field, values, rows },
      );
  }
  return rows;
}

function keyLength({ strings, int64s, bools }: serving.KeyColumn): number {
  return Math.max(strings.length, int64s.length, bools.length);
}

export interface Part extends Group {
  readonly vectors: Vectors;
  readonly requestData: readonly inference.RequestColumn[];
  /** The model's run, with its wait for a worker. */
  readonly runMs: number;
  readonly features: FeaturesRead | undefined;
  readonly scores: readonly number[];
}

/** Tells the rollout, and who counts, what became of the call. */
async function counted({ onFailed }: PredictDeps, { route, model }: Group, work: () => Promise<Part>): Promise<Part> {
  const { name, version } = model;
  const startedMs = performance.now();
  try {
    const part = await work();
    route?.served(name, version, { t: 'answered', ms: performance.now() - startedMs, scores: part.scores });
    return part;
  } catch (thrown) {
    if (isServerFault(thrown)) route?.served(name, version, { t: 'failed' });
    onFailed(model, thrown);
    throw thrown;
  }
}

async function predictGroup(
  deps: PredictDeps,
  { model, members, route }: Group,
  request: inference.PredictRequest,
  asOfByRowUs: Float64Array,
  caller: Caller,
): Promise<Part> {
  const { vectors, requestData, features } = await readVectors(deps, model, request, members, asOfByRowUs, caller);
  const startedMs = performance.now();
  const scores = await scoresOf(model, vectors, caller);
  return { model, members, route, vectors, requestData, features, scores, runMs: performance.now() - startedMs };
}

export async function scoresOf(model: ReadyModel, vectors: Vectors, caller: Caller): Promise<number[]> {
  const { inputName, outputName, outputColumn } = model.spec;
  const spec = model.loaded.inputs.find(({ name }) => name === inputName);
  const datatype = spec?.datatype === 'FP64' ? 'FP64' : 'FP32';
  const data = datatype === 'FP64' ? vectors.values : new Float32Array(vectors.values);
  const input: Tensor = { datatype, shape: [vectors.rows, vectors.names.length], data };
  const inputs = new Map([[inputName, input]]);
  checkInputs(model.name, model.loaded.inputs, inputs);
  if (!model.loaded.outputs.some(({ name }) => name === outputName)) {
    throw new MeshError(
      'MODEL_RUN_FAILED',
      `model "${model.name}" has no output "${outputName}"; its outputs: ${model.loaded.outputs.map(({ name }) => name).join(', ')}`,
      { model: model.name, output: outputName },
    );
  }
  const output = (await model.loaded.run(inputs, [outputName], caller)).get(outputName);
  const width = output?.shape.length === 2 ? (output.shape[1] ?? 1) : 1;
  if (output?.data.length !== vectors.rows * width)
    throw new MeshError(
      'MODEL_RUN_FAILED',
      `output "${outputName}" of model "${model.name}" has shape [${output?.shape}] for ${vectors.rows} rows; it must have a row for each`,
      { model: model.name, output: outputName },
    );
  if (outputColumn >= width)
    throw new MeshError(
      'MODEL_RUN_FAILED',
      `output "${outputName}" of model "${model.name}" has ${width} columns and column ${outputColumn} is asked for`,
      { model: model.name, output: outputName },
    );
  return Array.from({ length: vectors.rows }, (_, row) => Number(output.data[row * width + outputColumn]));
}

function recordsOf(
  { model, vectors, features, scores, members }: Part,
  request: inference.PredictRequest,
  asOfByRowUs: Float64Array,
  predictedUs: number,
): PredictionRecords {
  return {
    deployment: request.deployment,
    model: model.name,
    modelVersion: model.version,
    featureService: model.spec.featureService,
    featureServiceVersion: features?.version ?? '',
    predictedUs,
    ids: newIds(members.length),
    keys: members.map((row) => request.predictionKeys[row] ?? ''),
    scores,
    asOfUs: members.map((row) => asOfByRowUs[row] ?? 0),
    vectors,
    entity: request.keys.map((key) => ({ name: key.name, values: members.map((row) => keyText(key, row)) })),
  };
}

/** Rows in the order of the request; with several models the explanation is the first one's, which all rows share or have none. */
function toResponse(
  parts: readonly Part[],
  records: readonly PredictionRecords[],
  outliers: readonly (readonly RowOutlier[] | undefined)[],
  rows: number,
  omit: boolean,
): inference.PredictResponse {
  const first = parts[0];
  const names = first?.vectors.names ?? [];
  const explained = !omit && parts.every((part) => part.vectors.names.join() === names.join());
  const values = explained ? rows * names.length : 0;
  const response: inference.PredictResponse = {
    predictions: new Array<inference.Prediction>(rows),
    vectorNames: explained ? [...names] : [],
    vectors: new Array<number>(values),
    statuses: Buffer.alloc(values),
    agesUs: new Array<bigint>(values),
    featureService: first?.model.spec.featureService ?? '',
    featureServiceVersion: first?.features?.version ?? '',
    views: explained ? viewsOf(parts, rows) : [],
  };
  for (const [index, { members, vectors }] of parts.entries()) {
    const { model, modelVersion, ids, scores } = records[index] as PredictionRecords;
    for (const [at, row] of members.entries()) {
      response.predictions[row] = {
        predictionId: ids[at] ?? '',
        score: scores[at] ?? Number.NaN,
        model,
        modelVersion,
        outlierScore: outliers[index]?.[at]?.score,
        outlierColumn: outliers[index]?.[at]?.column ?? '',
      };
      if (!explained) continue;
      for (let column = 0; column < names.length; column++) {
        const from = at * names.length + column;
        const to = row * names.length + column;
        response.vectors[to] = vectors.values[from] as number;
        response.statuses[to] = vectors.statuses[from] as number;
        response.agesUs[to] = BigInt(vectors.agesUs[from] as number);
      }
    }
  }
  return response;
}

function viewsOf(parts: readonly Part[], rows: number): serving.ViewRead[] {
  const first = parts[0]?.features;
  return (first?.views ?? []).map(({ view, version }, index) => {
    const read: serving.ViewRead = {
      view,
      version,
      eventTimesUs: new Array<bigint>(rows).fill(0n),
      positions: new Array<bigint>(rows).fill(0n),
      knownTimesUs: new Array<bigint>(rows).fill(0n),
    };
    for (const part of parts) {
      const from = part.features?.views[index];
      for (const [at, row] of part.members.entries()) {
        read.eventTimesUs[row] = BigInt(from?.eventTimesUs[at] ?? 0);
        read.positions[row] = BigInt(from?.positions[at] ?? 0);
        read.knownTimesUs[row] = BigInt(from?.knownTimesUs[at] ?? 0);
      }
    }
    return read;
  });
}
