import { type definitions, loads } from '@millrace/contracts';
import { isLocal } from '@millrace/inputs';
import { type Clock, MeshError, newId, toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { registeredSource } from './definitions.ts';
import type { LoadRunDeps } from './load-deps.ts';
import { runLoad } from './load-run.ts';
import { type LoadRecord, type LoadState, noProgress } from './load-store.ts';
import { LoadTotals } from './load-totals.ts';
import type { SourceBlocks } from './source-blocks.ts';

export type LoadDeskDeps = LoadRunDeps & {
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly blocks: Pick<SourceBlocks, 'assertOpen' | 'problemOf'>;
  readonly limits: { readonly loadsRunningMax: number; readonly loadsWaitingMax: number };
  /** What callers sent for their loads. */
  readonly uploads: {
    discard(uploadId: string): Promise<void>;
    prune(wanted: ReadonlySet<string>, nowMs: number): Promise<void>;
  };
};

/** A load and, while it runs in this process, how far it has come. */
export type LoadView = { readonly record: LoadRecord; readonly totals: LoadTotals | undefined };

type Running = { readonly totals: LoadTotals; readonly stop: AbortController; readonly done: Promise<void> };

const listDefault = 100;
const listMax = 1_000;
const saveEveryMs = 5_000;
const lookEveryMs = 500;
/** In memory; the bucket keeps all of the last thirty days. */
const endedKeptMax = 10_000;

export type LoadDesk = Awaited<ReturnType<typeof openLoadDesk>>;

/**
 * Loads: queued, run a few at once and one a source, kept through restarts. What was queued or running when the process ended goes on
 * where its ledger says; so does what a block of its source has stopped, once that is lifted.
 */
export async function openLoadDesk(deps: LoadDeskDeps) {
  const { store, clock, telemetry, limits } = deps;
  const records = new Map((await store.loads()).map((load) => [load.id, load]));
  const running = new Map<string, Running>();
  let stopping = false;
  const waiting = () => [...records.values()].filter(({ state }) => state === 'queued');
  for (const load of records.values()) if (load.state === 'running') records.set(load.id, { ...load, state: 'queued' });

  return {
    /** UNKNOWN_SOURCE; SOURCE_BLOCKED; OVERLOADED when too many wait; INPUT_NOT_FOUND when a local file or an upload is not there. */
    async start(asked: loads.StartLoadRequest, signal: AbortSignal): Promise<LoadView> {
      const { spec } = await registeredSource(deps.definitions, asked.source);
      deps.blocks.assertOpen(asked.source);
      const request = asked.location === '' ? batchRequest(asked, spec) : asked;
      // what is far away is asked by the load itself
      if (request.uploadId !== '' || isLocal(request.location)) await deps.inputs.locate(request, signal);
      return enqueue(request);
    },

    /** A batch input, now. What is wrong with it is told by the load. */
    async startInput(source: string, batchInput: string): Promise<LoadView> {
      const { spec } = await registeredSource(deps.definitions, source);
      return enqueue(batchRequest(loads.StartLoadRequest.fromPartial({ source, batchInput }), spec));
    },

    /** When a batch input was started last; undefined when it never was. */
    lastStartUs(source: string, batchInput: string): number | undefined {
      const starts = [...records.values()].filter(
        ({ request }) => request.source === source && request.batchInput === batchInput,
      );
      return starts.length === 0 ? undefined : Math.max(...starts.map(({ startedUs }) => startedUs));
    },

    get: (id: string): LoadView => viewOf(id),

    /** Newest first. */
    list(source: string, limit: number): LoadView[] {
      if (limit < 0 || limit > listMax)
        throw new MeshError('LIMIT_EXCEEDED', `limit ${limit} is more than ${listMax}; ask for less`, { limit });
      return [...records.values()]
        .filter(({ request }) => source === '' || request.source === source)
        .sort((a, b) => b.startedUs - a.startedUs)
        .slice(0, limit || listDefault)
        .map(({ id }) => viewOf(id));
    },

    async cancel(id: string): Promise<LoadView> {
      const { record } = viewOf(id);
      const run = running.get(id);
      if (run !== undefined) {
        run.stop.abort(new MeshError('CANCELLED', 'the load was cancelled', { load: id }));
        await run.done;
      } else if (record.endedUs === 0) await end(record, 'cancelled');
      return viewOf(id);
    },

    /** Whether a load of this batch input waits, is held or runs. */
    isBusy: (source: string, batchInput: string): boolean =>
      [...records.values()].some(
        ({ endedUs, request }) => endedUs === 0 && request.source === source && request.batchInput === batchInput,
      ),

    /** Goes on with what was not ended, until the signal aborts; what runs then is left to the next process. */
    async run(signal: AbortSignal): Promise<void> {
      dispatch();
      const looking = setInterval(letGo, lookEveryMs);
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      stopping = true;
      clearInterval(looking);
      const shutDown = new MeshError('SHUTTING_DOWN', 'ingestion is stopping; the load goes on when it is back');
      for (const { stop } of running.values()) stop.abort(shutDown);
      await Promise.all([...running.values()].map(({ done }) => done));
    },
  };

  async function enqueue(request: loads.StartLoadRequest): Promise<LoadView> {
    const queued = waiting().length;
    if (queued >= limits.loadsWaitingMax) throw tooManyLoads(queued, limits.loadsWaitingMax);
    const load: LoadRecord = {
      id: newId(),
      request,
      state: 'queued',
      reason: '',
      message: '',
      startedUs: clock.nowUs(),
      endedUs: 0,
      progress: noProgress,
    };
    await save(load);
    dispatch();
    return viewOf(load.id);
  }

  /** What was held goes on where its source takes events again. */
  function letGo(): void {
    for (const load of records.values()) {
      if (load.state !== 'held' || deps.blocks.problemOf(load.request.source) !== undefined) continue;
      records.set(load.id, { ...load, state: 'queued', reason: '', message: '' });
    }
    dispatch();
  }

  function viewOf(id: string): LoadView {
    const record = records.get(id);
    if (record === undefined)
      throw new MeshError('UNKNOWN_LOAD', `there is no load "${id}"; list them with: millrace loads list`, {
        load: id,
      });
    return { record, totals: running.get(id)?.totals };
  }

  /** Starts what may run now. */
  function dispatch(): void {
    if (stopping) return;
    const busy = new Set([...running.keys()].map((id) => records.get(id)?.request.source));
    for (const load of waiting()) {
      if (running.size >= limits.loadsRunningMax) return;
      if (busy.has(load.request.source)) continue;
      busy.add(load.request.source);
      begin(load);
    }
  }

  function begin(load: LoadRecord): void {
    const stop = new AbortController();
    const totals = new LoadTotals(load.progress.rejections);
    const started: LoadRecord = { ...load, state: 'running' };
    records.set(load.id, started);
    const done = work(started, totals, stop.signal).finally(() => {
      running.delete(load.id);
      dispatch();
    });
    running.set(load.id, { totals, stop, done });
  }

  async function work(load: LoadRecord, totals: LoadTotals, signal: AbortSignal): Promise<void> {
    const saving = setInterval(() => {
      save({ ...load, progress: totals.progress() }).catch(() => {});
    }, saveEveryMs);
    try {
      await save(load);
      await runLoad(deps, load, totals, signal);
      await end({ ...load, progress: totals.progress() }, 'succeeded');
    } catch (thrown) {
      const error = toMeshError(signal.aborted ? signal.reason : thrown, 'the load failed');
      const record = { ...load, progress: totals.progress() };
      if (error.reason === 'SHUTTING_DOWN') await save(record).catch(() => {});
      // its upload is kept, and its ledger says where it goes on
      else if (error.reason === 'SOURCE_BLOCKED')
        await save({ ...record, state: 'held', reason: error.reason, message: error.message }).catch(() => {});
      else await end(record, error.reason === 'CANCELLED' ? 'cancelled' : 'failed', error);
    } finally {
      clearInterval(saving);
    }
  }

  async function end(load: LoadRecord, state: LoadState, error?: MeshError): Promise<void> {
    const ended: LoadRecord = {
      ...load,
      state,
      reason: state === 'failed' ? (error?.reason ?? 'INTERNAL') : '',
      message: state === 'failed' ? (error?.message ?? '') : '',
      endedUs: clock.nowUs(),
    };
    records.set(load.id, ended);
    const { rows, accepted, rejected } = ended.progress;
    const { id, request, reason, message } = ended;
    telemetry.log.info({
      event: 'load_ended',
      load: id,
      source: request.source,
      state,
      rows,
      accepted,
      rejected,
      reason,
      message,
    });
    // the ledger is true already: a load whose end could not be written is run again and finds nothing to do
    await save(ended).catch((cause) => telemetry.log.warn({ event: 'load_not_saved', load: id, error: String(cause) }));
    if (request.uploadId !== '') await deps.uploads.discard(request.uploadId).catch(() => {});
    await prune();
  }

  /** Forgets what nobody will ask for any more. */
  async function prune(): Promise<void> {
    const ended = [...records.values()].filter(({ endedUs }) => endedUs > 0).sort((a, b) => a.startedUs - b.startedUs);
    for (const { id } of ended.slice(0, -endedKeptMax)) records.delete(id);
    const open = [...records.values()].filter(({ endedUs }) => endedUs === 0);
    await deps.uploads
      .prune(new Set(open.map(({ request }) => request.uploadId)), clock.nowUs() / 1000)
      .catch(() => {});
  }

  async function save(load: LoadRecord): Promise<void> {
    records.set(load.id, load);
    await store.putLoad(load);
  }
}

function tooManyLoads(waiting: number, limit: number): MeshError {
  return new MeshError(
    'OVERLOADED',
    `${waiting} loads wait, the limit is ${limit}; retry when some have ended`,
    { waiting, limit },
    { retryAfterMs: 5_000 },
  );
}

/** What a batch input asks for. INVALID_ARGUMENT when the source has none of that name. */
function batchRequest(asked: loads.StartLoadRequest, spec: definitions.Source): loads.StartLoadRequest {
  const { source, batchInput } = asked;
  const names = spec.batchInputs.map(({ name }) => name);
  const input =
    batchInput === '' && names.length === 1
      ? spec.batchInputs[0]
      : spec.batchInputs.find(({ name }) => name === batchInput);
  if (input === undefined) {
    const there = names.length === 0 ? 'it has none' : `it has ${names.join(', ')}`;
    const what =
      batchInput === '' ? 'name a location, or one of its batch inputs' : `there is no batch input "${batchInput}"`;
    throw new MeshError('INVALID_ARGUMENT', `source "${source}": ${what}; ${there}`, { source, batchInput });
  }
  const location = input.query === '' ? input.location : `clickhouse://${source}/${input.name}`;
  return { ...asked, batchInput: input.name, location, format: input.format, whenChanged: input.whenChanged };
}
