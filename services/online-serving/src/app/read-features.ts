import type { FeatureValue, Scalar } from '@millrace/features';
import { type Clock, MeshError, toMeshError } from '@millrace/kernel';
import {
  evaluateRow,
  fillAbsent,
  fillFromHistory,
  type MissedRow,
  markUnavailable,
  setEventTime,
} from '../domain/evaluate.ts';
import { createMatrix, type Matrix } from '../domain/matrix.ts';
import type { Plan, PlannedLookup, PlannedView, ReadValue } from '../domain/plan.ts';
import { asOfColumn, type BoundKeys, bindKeys, type ReadRequest, type RequestKey } from '../domain/request.ts';
import { bindRequestData } from '../domain/request-data.ts';
import type { Admission } from './admission.ts';
import { type Instances, instancesOf, lookedUpInstances } from './entity-instances.ts';
import type { PlanBook } from './plan-book.ts';
import type { EntityRead, RowStore } from './row-store.ts';

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
export type HistoryRow = {
  /** By the name of the feature in its view. */
  readonly values: ReadonlyMap<string, FeatureValue>;
  /** Of the entity, before the read time; null when there was none, undefined where nothing goes by it. */
  readonly lastEventTimeUs: number | null | undefined;
};

type MissedView = { readonly view: PlannedView; readonly index: number; readonly rows: readonly MissedRow[] };

/** What a read is about, for each of its round trips. */
type Reading = {
  readonly request: ReadRequest;
  readonly call: ReadCall;
  readonly plan: Plan;
  readonly bound: BoundKeys;
  readonly requestData: readonly ReadValue[];
};

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
    const read = { request, call, plan, bound, requestData };
    let missed: readonly MissedView[];
    try {
      let waits = true;
      missed = await readRows(instancesOf(reading, bound), matrix, read, timeoutMs, () => {
        if (waits) pass.waited(clock.nowUs() / 1000);
        waits = false;
      });
      if (reading.lookups) missed = await followLookups(reading.lookups, matrix, read, missed);
    } finally {
      pass.end(clock.nowUs() / 1000);
    }
    if (request.allowHistory && missed.length > 0) await fillMissed(matrix, bound, missed, call);
    if (!plan.derivation) return matrix;
    const answer = createMatrix(plan, asOfUs, layout);
    plan.derivation.derive(matrix, answer, requestData);
    return answer;
  };

  /** Reads rows into the matrix; gives what lies before the rows' first steps. */
  async function readRows(
    { reads, firstRow, nextRow }: Instances,
    matrix: Matrix,
    { request, call, plan }: Reading,
    timeoutMs: number,
    onAnswer: () => void,
  ): Promise<readonly MissedView[]> {
    const { views } = matrix.plan;
    const cursors = views.map(({ reader }) => reader.newCursor());
    const missedByView = views.map((): MissedRow[] => []);
    if (reads.length === 0) return [];
    const unanswered = await store.read(reads, timeoutMs, (instance, rows) => {
      onAnswer();
      const { entity } = reads[instance] as EntityRead;
      const next = nextRow.get(entity) as Int32Array;
      for (let slot = 0; slot < entity.views.length; slot++) {
        const index = entity.views[slot] as number;
        const view = views[index] as PlannedView;
        const stored = rows[slot] ?? null;
        for (let row = firstRow[instance] as number; row >= 0; row = next[row] as number) {
          const missed = evaluateRow(matrix, view, index, row, stored, cursors[index] as Int32Array);
          if (missed) missedByView[index]?.push(missed);
        }
      }
    });
    onAnswer();
    if (unanswered.length > 0 && !request.allowPartial) throw unavailable(plan, call, clock.nowUs() / 1000, timeoutMs);
    for (const instance of unanswered) {
      const { entity } = reads[instance] as EntityRead;
      const next = nextRow.get(entity) as Int32Array;
      for (let row = firstRow[instance] as number; row >= 0; row = next[row] as number)
        for (const index of entity.views) markUnavailable(matrix, views[index] as PlannedView, row);
    }
    return views.flatMap((view, index): MissedView[] => {
      const rows = missedByView[index] ?? [];
      return rows.length > 0 ? [{ view, index, rows }] : [];
    });
  }

  /** Level by level, each in one round trip: the values before it, those of history too, hold its keys. */
  async function followLookups(
    levels: readonly (readonly PlannedLookup[])[],
    matrix: Matrix,
    read: Reading,
    missedFirst: readonly MissedView[],
  ): Promise<readonly MissedView[]> {
    const { request, call, bound, requestData } = read;
    let missed = missedFirst;
    for (const level of levels) {
      if (request.allowHistory && missed.length > 0) await fillMissed(matrix, bound, missed, call);
      const instances = lookedUpInstances(level, matrix, requestData, bound);
      const timeoutMs = budgetMs(call, clock.nowUs() / 1000, limits, request.allowPartial);
      missed = await readRows(instances, matrix, read, timeoutMs, () => {});
    }
    return missed;
  }

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
      missed.map(async ({ view, index, rows }) => {
        const lookedUp = matrix.lookupKeys?.get(index);
        const columns = matrix.plan.entities[view.entity]?.keys.map((key) => (bound.columns[key] as RequestKey).values);
        const samples = rows.map(({ row, position }) => ({
          row,
          keys: columns?.map((values) => values[row] as Scalar) ?? (lookedUp?.[row] as readonly Scalar[]),
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
          const past = found.get(row);
          if (past?.lastEventTimeUs === null) fillAbsent(matrix, view, index, row);
          else if (past) {
            const known = past.lastEventTimeUs ?? Math.min(lastEventTimeUs, matrix.asOfUs[row] as number);
            if (past.lastEventTimeUs !== undefined) setEventTime(matrix, index, row, known);
            fillFromHistory(matrix, view, row, past.values, known);
          }
        }
      }),
    );
  }
}

function budgetMs(call: ReadCall, nowMs: number, limits: ReadLimits, allowPartial: boolean): number {
  if (call.deadlineMs === undefined) return limits.readTimeoutMs;
  const leftMs = call.deadlineMs - nowMs - (allowPartial ? limits.partialReserveMs : 0);
  if (leftMs <= 0 && !allowPartial) throw deadlineExceeded();
  return Math.min(limits.readTimeoutMs, Math.max(1, leftMs));
}

function unavailable(plan: Plan, call: ReadCall, nowMs: number, timeoutMs: number): MeshError {
  // timers have whole milliseconds and may be early: a wait until the deadline ends up to two before it
  if (call.deadlineMs !== undefined && nowMs >= call.deadlineMs - 2) return deadlineExceeded();
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
