import type { FeatureValue, Scalar } from '@millrace/features';
import type { Clock } from '@millrace/kernel';
import type { Metrics } from '@millrace/runtime';
import { eventTimeAt, type Matrix, positionAt, statusAt, valueAt } from '../domain/matrix.ts';
import type { PlannedView } from '../domain/plan.ts';
import type { ReadRequest } from '../domain/request.ts';
import type { ReadFeatures } from './read-features.ts';

/** One row of an answer as it was served: keys in the order of the entity, values and statuses in that of the view's features. */
export type ServedRow = {
  readonly keys: readonly Scalar[];
  readonly asOfUs: number;
  readonly position: number;
  readonly values: readonly FeatureValue[];
  readonly statuses: readonly number[];
};

export type ServedRows = {
  readonly featureService: string;
  readonly view: PlannedView;
  readonly keyNames: readonly string[];
  readonly servedUs: number;
  readonly rows: readonly ServedRow[];
};

/** Takes rows to the verifier, or drops them: it must neither wait nor keep them. Returns false when it dropped them. */
export type PublishServed = (served: ServedRows) => boolean;

/** At most a second's samples at once. */
const burstS = 1;

/**
 * The same use case, with a sample of the rows that it answers told to the verifier. A read pays for one comparison; what a sample costs
 * is paid in a later turn of the event loop, after the answer left. Rows without a position (not found, or read without metadata) tell
 * nothing that could be proved.
 */
export function sampled(
  readFeatures: ReadFeatures,
  deps: {
    readonly rowsPerSecond: number;
    readonly publish: PublishServed;
    readonly clock: Clock;
    readonly metrics: Metrics;
    readonly random?: () => number;
  },
): ReadFeatures {
  const { rowsPerSecond, clock, random = Math.random } = deps;
  if (rowsPerSecond === 0) return readFeatures;
  const rowsTaken = deps.metrics.counter('millrace_serving_parity_rows_total', 'rows told to the verifier', [
    'outcome',
  ]);
  let nextMs = 0;

  /** How many rows may be taken now, no more than were asked for; they count as taken. */
  function allowance(rows: number): number {
    const nowMs = performance.now();
    nextMs = Math.max(nextMs, nowMs - burstS * 1000);
    const taken = Math.min(rows, Math.ceil(((nowMs - nextMs) * rowsPerSecond) / 1000));
    // gaps of random length: a caller with a beat of its own must not always fall between two samples
    nextMs += (taken * 2000 * random()) / rowsPerSecond;
    return taken;
  }

  function take(request: ReadRequest, matrix: Matrix): void {
    const count = allowance(matrix.rows);
    if (count <= 0) return;
    const first = Math.floor(random() * matrix.rows);
    const servedUs = clock.nowUs();
    const { plan } = matrix;
    for (const [index, view] of plan.views.entries()) {
      // what was looked up is proved under the key that found it
      const lookedUp = matrix.lookupKeys?.get(index);
      const keyNames = lookedUp
        ? view.definition.joinKeys.map(({ name }) => name)
        : (plan.entities[view.entity]?.keys.map((key) => plan.keys[key]?.name ?? '') ?? []);
      const columns = keyNames.map((name) => request.keys.find((key) => key.name === name)?.values ?? []);
      const rows: ServedRow[] = [];
      for (let i = 0; i < count; i++) {
        const row = (first + Math.floor((i * matrix.rows) / count)) % matrix.rows;
        const position = positionAt(matrix, row, index);
        if (position === 0 || eventTimeAt(matrix, row, index) === 0) continue;
        const found = lookedUp?.[row];
        rows.push({
          keys: typeof found === 'object' ? found : columns.map((values) => values[row] ?? null),
          asOfUs: matrix.asOfUs[row] as number,
          position,
          values: view.features.map((feature) => valueAt(matrix, row, feature.position)),
          statuses: view.features.map((feature) => statusAt(matrix, row, feature.position)),
        });
      }
      if (rows.length === 0) continue;
      const kept = deps.publish({ featureService: plan.name, view, keyNames, servedUs, rows });
      rowsTaken.inc(rows.length, { outcome: kept ? 'published' : 'dropped' });
    }
  }

  return async (request, call) => {
    const matrix = await readFeatures(request, call);
    if (performance.now() > nextMs) setImmediate(take, request, matrix);
    return matrix;
  };
}
