import type { definitions, inference, serving } from '@millrace/contracts';
import type { TrafficRequest } from '@millrace/rollouts';
import { type Assignment, assignerOf } from './assign.ts';
import type { BookedModel, LoadedModel, ModelBook } from './model-book.ts';
import type { CallRoute } from './rollouts.ts';

/** Metadata of a call, names in lower case; it is put together whenever it is read. */
export interface CallHeaders {
  readonly metadata: ReadonlyMap<string, string>;
}

export type ReadyModel = BookedModel & { readonly loaded: LoadedModel };

/** Rows that one model version answers. */
export interface Group {
  readonly model: ReadyModel;
  readonly members: readonly number[];
  /** The rollout that they take part in; rows that a rule sent here take part in none. */
  readonly route: CallRoute | undefined;
}

export interface AssignedRows {
  readonly groups: readonly Group[];
  to(row: number): Assignment;
}

type Rows = Pick<inference.PredictRequest, 'deployment' | 'keys' | 'predictionKeys' | 'requestData'>;

/** Which model version answers which rows of a request. */
export function assignRows(
  deployment: definitions.Deployment,
  request: Rows,
  rows: number,
  call: CallHeaders,
  book: ModelBook,
  route: CallRoute | undefined,
): AssignedRows {
  const assigner = assignerOf(request.deployment, deployment, route, book);
  const members = new Map<string, { readonly to: Assignment; readonly rows: number[] }>();
  const assignments: Assignment[] = [];
  let headers: ReadonlyMap<string, string> | undefined;
  for (let row = 0; row < rows; row++) {
    const to = assigner.assign(
      () => {
        headers ??= call.metadata;
        return trafficRequest(request, row, headers);
      },
      () => unitText(request, row),
    );
    assignments.push(to);
    const id = `${to.model}@${to.version}|${to.route ? 'in' : 'out'}`;
    const group = members.get(id);
    if (group) group.rows.push(row);
    else members.set(id, { to, rows: [row] });
  }
  return {
    groups: [...members.values()].map(({ to, rows: of }) => ({
      model: book.ready(to.model, to.version),
      members: of,
      route: to.route,
    })),
    to: (row) => assignments[row] as Assignment,
  };
}

function trafficRequest(request: Rows, row: number, headers: ReadonlyMap<string, string>): TrafficRequest {
  return {
    headers,
    keys: new Map(request.keys.map((key) => [key.name, keyText(key, row)])),
    data: new Map(request.requestData.map(({ name, doubles }) => [name, doubles[row] ?? Number.NaN])),
    parameters: new Map(),
    predictionKey: request.predictionKeys[row] ?? '',
  };
}

function unitText(request: Pick<Rows, 'keys' | 'predictionKeys'>, row: number): string {
  return request.predictionKeys[row] || request.keys.map((key) => keyText(key, row)).join('|');
}

export function keyText({ strings, int64s, bools }: serving.KeyColumn, row: number): string {
  return strings[row] ?? String(int64s[row] ?? bools[row] ?? '');
}
