import type { inference } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { type ExplainAsk, type Explanation, methodOf } from '../domain/explanation.ts';
import { assignRows, type CallHeaders } from './assign-rows.ts';
import type { Explain, ExplainedModel } from './explain.ts';
import type { ModelBook } from './model-book.ts';
import { type PredictDeps, rowsOf, unknownDeployment } from './predict.ts';
import { type Caller, readVectors } from './read-vectors.ts';

/** What one model version says of its rows of a request. */
export interface ExplainedPart {
  readonly model: ExplainedModel;
  /** Rows of the request. */
  readonly members: readonly number[];
  /** Row-major [rows, features]. */
  readonly values: Float64Array;
  /** As `values`; empty when rows were given. */
  readonly statuses: Uint8Array;
  readonly explanation: Explanation;
}

export type ExplainRows = (
  request: inference.ExplainRequest,
  caller: Caller & CallHeaders,
) => Promise<readonly ExplainedPart[]>;

type Deps = Pick<
  PredictDeps,
  'deployment' | 'deployments' | 'rollout' | 'featureService' | 'readFeatures' | 'nowUs' | 'limits'
> & { readonly book: ModelBook; readonly explain: Explain };

/** Explains rows that are given, or what Predict would be asked: the same models, the same vectors. */
export function createExplainRows(deps: Deps): ExplainRows {
  return async (request, caller) => {
    const ask = askOf(request);
    if (request.rows.length > 0) refuseBoth(request);
    const rows = request.rows.length > 0 ? request.rows.length : rowsOf(asPredict(request), deps.limits.rowsMax);
    const groups = groupsOf(deps, request, rows, caller);
    return Promise.all(
      groups.map(async ({ model, members }) => {
        const { statuses, values } = await featuresOf(deps, model, request, { members, rows }, caller);
        const width = values.length / members.length;
        const given = members.map((_, at) => values.subarray(at * width, (at + 1) * width));
        const explanation = await deps.explain.rows(model, given, ask, caller);
        return { model, members, values, statuses, explanation };
      }),
    );
  };
}

function askOf({ method, output, pairs, seed, background }: inference.ExplainRequest): ExplainAsk {
  return {
    method: methodOf(method),
    output: output === '' ? undefined : output,
    pairs: pairs === 0 ? undefined : pairs,
    seed,
    background: background.length === 0 ? undefined : background.map(({ values }) => values),
  };
}

function refuseBoth({ keys, requestData }: inference.ExplainRequest): void {
  if (keys.length === 0 && requestData.length === 0) return;
  throw new MeshError('INVALID_ARGUMENT', 'rows are given, and keys or request_data too; give one of them', {});
}

const asPredict = ({ keys, requestData }: inference.ExplainRequest) => ({
  keys,
  requestData,
  asOfUsByRow: [],
  predictionKeys: [],
});

function groupsOf(deps: Deps, request: inference.ExplainRequest, rows: number, call: CallHeaders) {
  const { model, modelVersion, deployment, keys, requestData } = request;
  if ((model === '') === (deployment === ''))
    throw new MeshError('INVALID_ARGUMENT', 'name a model or a deployment, and not both', { model, deployment });
  if (model !== '')
    return [{ model: deps.book.ready(model, modelVersion), members: Array.from({ length: rows }, (_, row) => row) }];
  const found = deps.deployment(deployment);
  if (!found) throw unknownDeployment(deployment, deps.deployments());
  const asked = { deployment, keys, requestData, predictionKeys: [] };
  return assignRows(found, asked, rows, call, deps.book, deps.rollout(deployment)).groups;
}

async function featuresOf(
  deps: Deps,
  model: ExplainedModel,
  request: inference.ExplainRequest,
  { members, rows }: { readonly members: readonly number[]; readonly rows: number },
  caller: Caller,
): Promise<{ readonly values: Float64Array; readonly statuses: Uint8Array }> {
  if (request.rows.length === 0) {
    if (model.spec.inputColumns.length === 0)
      throw new MeshError(
        'INVALID_ARGUMENT',
        `model "${model.name}" is registered without input columns: nothing says which features it takes; give rows`,
        { model: model.name },
      );
    const asOfByRowUs = new Float64Array(rows).fill(Number(request.asOfUs) || deps.nowUs());
    const { vectors } = await readVectors(deps, model, request, members, asOfByRowUs, caller);
    return vectors;
  }
  const given = members.map((row) => request.rows[row]?.values ?? []);
  const width = given[0]?.length ?? 0;
  const other = given.find(({ length }) => length !== width);
  if (other)
    throw new MeshError('WRONG_TENSOR_SHAPE', `rows have ${width} and ${other.length} values; give all as many`, {
      values: width,
      other: other.length,
    });
  return { values: Float64Array.from(given.flat()), statuses: new Uint8Array() };
}
