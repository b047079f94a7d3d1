import type { ViewDefinition } from '@millrace/features';
import { type Clock, MeshError, sleep, toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { type FailedExpectation, refuseBlocked } from '../expectations/table-checks.ts';
import {
  type Materialization,
  type MaterializationBook,
  type MaterializationRange,
  newMaterialization,
  planned,
  type Shard,
  shardAt,
  shardsOf,
  timesOf,
} from './materialization.ts';

/** Where values are computed and written. Writing a shard again replaces what it wrote. */
export interface FeatureTables {
  /** Entities that have any event in history before a time, and the position that history has come to. */
  extent(view: ViewDefinition, beforeUs: number): Promise<{ readonly entities: number; readonly position: number }>;
  ensure(view: ViewDefinition): Promise<void>;
  /** Returns the rows written. */
  write(view: ViewDefinition, job: Materialization, shard: Shard, signal: AbortSignal): Promise<number>;
}

export type Materializer = {
  start(
    range: Omit<MaterializationRange, 'version' | 'everyUs'> & { version: string; everyUs: number },
    allowsFailed?: boolean,
  ): Promise<Materialization>;
  list(): readonly Materialization[];
  /** Throws UNKNOWN_DEFINITION. */
  cancel(id: string): Materialization;
  /** Works on one job at a time, oldest first, and goes on with those that a crash or a stop cut off. */
  run(signal: AbortSignal): Promise<void>;
};

const hourUs = 3_600_000_000;
const timesMax = 100_000;
const jobsRunningMax = 100;
/** After a shard it rests as long as the shard took, so that live statements get at least as much of ClickHouse. */
const restShare = 1;
const restMsMax = 5_000;
const retryMs = 2_000;
const triesMax = 30;

export function createMaterializer(deps: {
  readonly book: MaterializationBook;
  readonly tables: FeatureTables;
  /** What is expected of the features and the rows of a job do not meet. */
  readonly check: (
    view: ViewDefinition,
    job: Materialization,
    signal: AbortSignal,
  ) => Promise<readonly FailedExpectation[]>;
  readonly view: (name: string, version: string) => Promise<ViewDefinition>;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}): Materializer {
  const { book, tables, clock, telemetry } = deps;
  let wake = () => {};
  let working: { readonly id: string; readonly stop: AbortController } | undefined;

  const find = (id: string) => book.list().find((job) => job.id === id);
  const running = () => book.list().filter((job) => job.state === 'running');

  function update(job: Materialization, change: Partial<Materialization>): Materialization {
    // somebody may have cancelled it meanwhile
    const state = change.state ?? find(job.id)?.state ?? job.state;
    const next = { ...job, ...change, state };
    book.put(next);
    return next;
  }

  async function work(first: Materialization, signal: AbortSignal): Promise<void> {
    let job = first;
    const view = await deps.view(job.view, job.version);
    await tables.ensure(view);
    if (job.entityParts === 0) {
      const { entities, position } = await tables.extent(view, job.toUs);
      job = update(job, planned(job, entities, position));
    }
    while (job.state === 'running' && job.shardsDone < shardsOf(job)) {
      signal.throwIfAborted();
      const startedMs = performance.now();
      const rows = await tables.write(view, job, shardAt(job, job.shardsDone), signal);
      const tookMs = performance.now() - startedMs;
      job = update(job, {
        shardsDone: job.shardsDone + 1,
        rows: job.rows + rows,
        busyMs: job.busyMs + (1 + restShare) * tookMs,
        error: '',
      });
      await sleep(Math.min(restMsMax, restShare * tookMs), signal);
    }
    if (job.state === 'running' && !job.allowsFailed)
      refuseBlocked(
        await deps.check(view, job, signal),
        'the materialization',
        'Its rows are written; to call it done all the same start it again with allow_failed_expectations (--allow-failed-expectations)',
      );
    if (job.state === 'running') job = update(job, { state: 'done' });
    telemetry.log.info({ event: 'materialized', id: job.id, view: job.view, state: job.state, rows: job.rows });
  }

  async function attempt(job: Materialization, tries: number, signal: AbortSignal): Promise<boolean> {
    const stop = new AbortController();
    working = { id: job.id, stop };
    try {
      await work(job, AbortSignal.any([signal, stop.signal]));
      return true;
    } catch (thrown) {
      const now = find(job.id);
      if (signal.aborted || now === undefined || now.state !== 'running') return true;
      const { reason, message } = toMeshError(thrown, `view "${job.view}"`);
      const isFinal = reason !== 'STORE_UNAVAILABLE' || tries >= triesMax;
      telemetry.log.error({ event: 'materialization_failed', id: job.id, isFinal, error: message });
      update(now, { error: message, ...(isFinal ? { state: 'failed' as const } : {}) });
      return isFinal;
    } finally {
      working = undefined;
    }
  }

  return {
    async start(asked, allowsFailed = false) {
      const range = { ...asked, everyUs: asked.everyUs === 0 ? hourUs : asked.everyUs };
      checkRange(range);
      const view = await deps.view(range.view, range.version);
      const job = newMaterialization({ ...range, view: view.name, version: view.version }, clock.nowUs());
      const known = find(job.id);
      if (known?.state === 'running' || known?.state === 'done') return known;
      if (running().length >= jobsRunningMax)
        throw new MeshError(
          'OVERLOADED',
          `${jobsRunningMax} materializations are waiting, the limit; try again later`,
          { limit: jobsRunningMax },
          { retryAfterMs: 60_000 },
        );
      const next: Materialization = { ...(known ?? job), state: 'running', error: '', allowsFailed };
      book.put(next);
      wake();
      return next;
    },
    list: () => book.list().toSorted((a, b) => b.createdUs - a.createdUs),
    cancel(id) {
      const job = find(id);
      if (job === undefined)
        throw new MeshError(
          'UNKNOWN_DEFINITION',
          `there is no materialization "${id}"; millrace materializations lists them`,
          { id },
        );
      if (job.state !== 'running') return job;
      const cancelled: Materialization = { ...job, state: 'cancelled' };
      book.put(cancelled);
      if (working?.id === id) working.stop.abort();
      return cancelled;
    },
    async run(signal) {
      let tries = 0;
      while (!signal.aborted) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const next = running().toSorted((a, b) => a.createdUs - b.createdUs)[0];
        if (next === undefined) {
          await Promise.race([woken, sleep(60_000, signal)]);
          continue;
        }
        tries++;
        if (await attempt(next, tries, signal)) tries = 0;
        else await sleep(retryMs, signal);
      }
    },
  };
}

function checkRange(range: Omit<MaterializationRange, 'view' | 'version'>): void {
  const { fromUs, toUs, everyUs } = range;
  if (!(fromUs > 0 && toUs > fromUs))
    throw new MeshError(
      'INVALID_ARGUMENT',
      `from ${fromUs} to ${toUs} is no range of times; give microseconds since 1970, the end after the start`,
      { fromUs, toUs },
    );
  if (!(everyUs > 0))
    throw new MeshError('INVALID_ARGUMENT', `every ${everyUs} µs is no distance between times`, { everyUs });
  const times = timesOf(range);
  if (times > timesMax)
    throw new MeshError(
      'LIMIT_EXCEEDED',
      `${times} times are over the limit of ${timesMax}; take a longer distance or a shorter range`,
      { times, limit: timesMax },
    );
}
