import type { FeatureValue, Scalar } from '@millrace/features';
import { entityKey } from '@millrace/hot';
import { type Clock, MeshError, toMeshError } from '@millrace/kernel';
import { evaluateRow, fillFromHistory, type MissedRow, markUnavailable, type StoredRow } from '../domain/evaluate.ts';
import { createMatrix, type Matrix } from '../domain/matrix.ts';
import type { Plan, PlannedEntity, PlannedView } from '../domain/plan.ts';
import { asOfColumn, type BoundKeys, bindKeys, type ReadRequest, type RequestKey } from '../domain/request.ts';
import { bindRequestData } from '../domain/request-data.ts';
import type { Admission } from './admission.ts';
import type { PlanBook } from './plan-book.ts';

/** Takes the rows of read number `index`, in the order of the entity's views. The bytes are good until it returns. */
export type TakeRows = (index: number, rows: readonly StoredRow[]) => void;

/** Rows of entities. */
export interface RowStore {
  /** Hands over rows as they come in. Resolves with the reads that the store did not answer in time; rejects when `take` throws. */
  read(reads: readonly EntityRead[], timeoutMs: number, take: TakeRows): Promise<readonly number[]>;
}

export type EntityRead = { readonly key: string; readonly entity: PlannedEntity };

/** Values as of a time and position, computed over history. */
export interface HistoryReader {
  read(
    view: PlannedView,
    samples: readonly HistorySample[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<number, HistoryRow>>;
}

export type HistorySample = {
  readonly row: number;
  readonly keys: readonly Scalar[];
  readonly asOfUs: number;
  readonly position: number;
};
/** Values by the name of the feature in its view. */
export type HistoryRow = ReadonlyMap<string, FeatureValue>;

type MissedView = { readonly view: PlannedView; readonly rows: readonly MissedRow[] };

export type ReadCall = {
  readonly deadlineMs: number | undefined;
  readonly signal: AbortSignal;
  /** Who reads, for limits and usage. */
  readonly caller: string;
};

export type ReadFeatures = (request: ReadRequest, call: ReadCall) => Promise<Matrix>;

export type ReadLimits = {
  readonly rowsMax: number;
  readonly readTimeoutMs: number;
  /** How long before the deadline a partial answer leaves. */
  readonly partialReserveMs: number;
  /** How long a read from history may take. */
  readonly historyTimeoutMs: number;
};

export function createReadFeatures(deps: {
  readonly plans: PlanBook;
  readonly rows: RowStore;
  readonly history: HistoryReader;
  readonly clock: Clock;
  readonly limits: ReadLimits;
  readonly admission: Admission;
  readonly onHistoryProblem: (problem: MeshError) => void;
}): ReadFeatures {
  const { plans, rows: store, history, clock, limits, admission, onHistoryProblem } = deps;

  return async (request, call) => {
    const plan =
      request.plan ??
      plans.current(request.featureService, request.version) ??
      (await plans.load(request.featureService, request.version));
    const bound = bindKeys(plan, request, limits.rowsMax);
    const requestData = bindRequestData(plan, request.requestData ?? [], bound.rows);
    const reading = plan.derivation?.reads ?? plan;
    const nowUs = clock.nowUs();
    const asOfUs = asOfColumn(request, bound.rows, nowUs);
    const timeoutMs = budgetMs(call, nowUs / 1000, limits, request.allowPartial);
    const leftMs =
      call.deadlineMs === undefined || request.allowPartial ? Number.POSITIVE_INFINITY : call.deadlineMs - nowUs / 1000;
    const pass = admission.enter({ caller: call.caller, rows: bound.rows, leftMs }, nowUs / 1000);

    const layout = { sameAsOf: request.asOfUsByRow.length === 0, metadata: !request.omitMetadata };
    const matrix = createMatrix(reading, asOfUs, layout);
    const { reads, firstRow, nextRow } = instancesOf(reading, bound);
    const cursors = reading.views.map(({ reader }) => reader.newCursor());
    const missedByView = reading.views.map((): MissedRow[] => []);
    try {
      let waits = true;
      const unanswered = await store.read(reads, timeoutMs, (instance, rows) => {
        if (waits) pass.waited(clock.nowUs() / 1000);
        waits = false;
        const { entity } = reads[instance] as EntityRead;
        const next = nextRow.get(entity) as Int32Array;
        for (let slot = 0; slot < entity.views.length; slot++) {
          const index = entity.views[slot] as number;
          const view = reading.views[index] as PlannedView;
          const stored = rows[slot] ?? null;
          for (let row = firstRow[instance] as number; row >= 0; row = next[row] as number) {
            const missed = evaluateRow(matrix, view, index, row, stored, cursors[index] as Int32Array);
            if (missed) missedByView[index]?.push(missed);
          }
        }
      });
      if (waits) pass.waited(clock.nowUs() / 1000);
      if (unanswered.length > 0 && !request.allowPartial)
        throw unavailable(plan, call, clock.nowUs() / 1000, timeoutMs);
      for (const instance of unanswered) {
        const { entity } = reads[instance] as EntityRead;
        const next = nextRow.get(entity) as Int32Array;
        for (let row = firstRow[instance] as number; row >= 0; row = next[row] as number)
          for (const index of entity.views) markUnavailable(matrix, reading.views[index] as PlannedView, row);
      }
    } finally {
      pass.end(clock.nowUs() / 1000);
    }
    const missed = reading.views.flatMap((view, index): MissedView[] => {
      const rows = missedByView[index] ?? [];
      return rows.length > 0 ? [{ view, rows }] : [];
    });
    if (request.allowHistory && missed.length > 0) await fillMissed(matrix, bound, missed, call);
    if (!plan.derivation) return matrix;
    const answer = createMatrix(plan, asOfUs, layout);
    plan.derivation.derive(matrix, answer, requestData);
    return answer;
  };

  /** Values before the row's first step, from history; they stay OUT_OF_ROW when history does not answer in time. */
  async function fillMissed(
    matrix: Matrix,
    bound: BoundKeys,
    missed: readonly MissedView[],
    call: ReadCall,
  ): Promise<void> {
    const leftMs = call.deadlineMs === undefined ? limits.historyTimeoutMs : call.deadlineMs - clock.nowUs() / 1000;
    const waitMs = Math.max(1, Math.floor(Math.min(leftMs - limits.partialReserveMs, limits.historyTimeoutMs)));
    const signal = AbortSignal.any([call.signal, AbortSignal.timeout(waitMs)]);
    await Promise.all(
      missed.map(async ({ view, rows }) => {
        const entity = matrix.plan.entities[view.entity] as PlannedEntity;
        const samples = rows.map(({ row, position }) => ({
          row,
          keys: entity.keys.map((key) => (bound.columns[key] as RequestKey).values[row] as Scalar),
          asOfUs: matrix.asOfUs[row] as number,
          position,
        }));
        let found: ReadonlyMap<number, HistoryRow>;
        try {
          found = await history.read(view, samples, signal);
        } catch (thrown) {
          if (call.signal.aborted) throw thrown;
          onHistoryProblem(toMeshError(thrown, 'could not read history'));
          return;
        }
        for (const { row, lastEventTimeUs } of rows) {
          const values = found.get(row);
          if (!values) continue;
          fillFromHistory(matrix, view, row, values, Math.min(lastEventTimeUs, matrix.asOfUs[row] as number));
        }
      }),
    );
  }
}

type Instances = {
  readonly reads: readonly EntityRead[];
  /** The first row of the request that means an instance; each entity's next row after a row, -1 after the last. */
  readonly firstRow: readonly number[];
  readonly nextRow: ReadonlyMap<PlannedEntity, Int32Array>;
};

/** Every distinct entity instance of the request once, and which rows mean it. */
function instancesOf(plan: Plan, bound: BoundKeys): Instances {
  const reads: EntityRead[] = [];
  const firstRow: number[] = [];
  const nextRow = new Map<PlannedEntity, Int32Array>();
  for (const entity of plan.entities) {
    const next = new Int32Array(bound.rows).fill(-1);
    nextRow.set(entity, next);
    const columns = entity.keys.map((key) => (bound.columns[key] as RequestKey).values);
    const known = new Map<string, number>();
    const values = new Array<string | number | bigint | boolean>(columns.length);
    for (let row = bound.rows - 1; row >= 0; row--) {
      for (let i = 0; i < columns.length; i++) values[i] = columns[i]?.[row] as string | number | bigint | boolean;
      const key = entityKey(entity.name, values);
      const instance = known.get(key);
      if (instance === undefined) {
        known.set(key, reads.length);
        reads.push({ key, entity });
        firstRow.push(row);
      } else {
        next[row] = firstRow[instance] as number;
        firstRow[instance] = row;
      }
    }
  }
  return { reads, firstRow, nextRow };
}

function budgetMs(call: ReadCall, nowMs: number, limits: ReadLimits, allowPartial: boolean): number {
  if (call.deadlineMs === undefined) return limits.readTimeoutMs;
  const leftMs = call.deadlineMs - nowMs - (allowPartial ? limits.partialReserveMs : 0);
  if (leftMs <= 0 && !allowPartial) throw deadlineExceeded();
  return Math.min(limits.readTimeoutMs, Math.max(1, leftMs));
}

function unavailable(plan: Plan, call: ReadCall, nowMs: number, timeoutMs: number): MeshError {
  if (call.deadlineMs !== undefined && nowMs >= call.deadlineMs - 1) return deadlineExceeded();
  return new MeshError(
    'STORE_UNAVAILABLE',
    `the row store did not answer for feature service "${plan.name}" within ${Math.round(timeoutMs)} ms; retry, or set allow_partial to read what is ready`,
    { featureService: plan.name, store: 'redis', timeoutMs: Math.round(timeoutMs) },
    { retryAfterMs: 200 },
  );
}

function deadlineExceeded(): MeshError {
  return new MeshError(
    'DEADLINE_EXCEEDED',
    'the row store did not answer before the deadline; send a later deadline, or set allow_partial to read what is ready',
    { store: 'redis' },
  );
}
