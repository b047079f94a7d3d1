import { Worker } from 'node:worker_threads';
import { MeshError } from '@millrace/kernel';
import type {
  Measurement,
  MeasureOptions,
  SessionShape,
  SessionSource,
  WireTensor,
  WorkerAnswer,
  WorkerRequest,
} from './onnx-messages.ts';

export interface WorkerPool {
  readonly size: number;
  /** A session in each slot that is asked, from bytes that must have the digest. MODEL_LOAD_FAILED. */
  load(slot: number, session: number, source: SessionSource): Promise<SessionShape>;
  measure(slot: number, session: number, options: MeasureOptions): Promise<Measurement>;
  /** Runs it on these feeds, for about so long at most; failures are nobody's. */
  warm(slot: number, session: number, runs: readonly (readonly WireTensor[])[], budgetMs: number): Promise<void>;
  /**
   * MODEL_RUN_FAILED. When a run takes longer than `longRunMs` another worker takes the slot, with the same sessions, and `free` is
   * called; after `runMaxMs` the run is given up.
   */
  run(slot: number, run: RunRequest, free: () => void): Promise<readonly WireTensor[]>;
  unload(session: number): Promise<void>;
  close(): Promise<void>;
}

export interface RunRequest {
  readonly session: number;
  readonly feeds: readonly WireTensor[];
  readonly fetches: readonly string[];
  /** Buffers of the feeds that nobody else has: they change hands. */
  readonly transfer: readonly ArrayBuffer[];
  /** The run took longer than it may. */
  readonly onGivenUp: () => void;
}

export interface PoolOptions {
  readonly size: number;
  readonly longRunMs: number;
  readonly runMaxMs: number;
  readonly onEvent: (event: { readonly event: string; readonly [field: string]: string | number }) => void;
  /** How many sessions all workers hold now. */
  readonly onSessions?: ((open: number) => void) | undefined;
}

/** How long a thread may take to end; one that is in native code ends when that returns. */
const endMs = 1_000;
/** A load gets so many times what a run gets. */
const loadTimes = 4;
/** Workers that have left their slots with a long run, at most; beyond it a long run keeps its slot. */
const awayMax = 4;

/** Threads that hold ONNX sessions, one for each slot. */
export function createWorkerPool({ size, longRunMs, runMaxMs, onEvent, onSessions }: PoolOptions): WorkerPool {
  const sources = new Map<number, { readonly source: SessionSource; readonly slots: Set<number> }>();
  const hosts = Array.from({ length: size }, () => openHost(replace));
  const away = new Set<Host>();
  let spare: Host | undefined;
  let isClosed = false;
  const everyHost = () => [...hosts, ...away, ...(spare ? [spare] : [])];
  const countSessions = () => onSessions?.(everyHost().reduce((sum, { opened }) => sum + opened.size, 0));

  /** Another worker in the place of one that is lost; what is asked of it waits for its sessions. */
  function replace(host: Host): void {
    const slot = hosts.indexOf(host);
    if (slot < 0 || isClosed) return;
    const next = takeSpare();
    hosts[slot] = next;
    void synchronise(next, slot);
  }

  function takeSpare(): Host {
    const host = spare ?? openHost(replace);
    spare = undefined;
    return host;
  }

  /** What a worker does not end in time is given up, and the worker: a call into native code cannot be stopped from outside. */
  async function within<T>(host: Host, work: Promise<T>, ms: number, late: () => MeshError): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(late());
        replace(host);
        away.delete(host);
        void host.end();
      }, ms);
    });
    try {
      return await Promise.race([work, limit]);
    } finally {
      clearTimeout(timer);
    }
  }

  function notLoaded(session: number, what: string, ms: number): MeshError {
    const source = sources.get(session)?.source;
    // not in the worker that takes the place either
    sources.delete(session);
    const model = source?.model ?? '';
    return new MeshError('MODEL_LOAD_FAILED', `model "${model}" was not ${what} within ${ms} ms; it is given up`, {
      model,
      limit: ms,
    });
  }

  /** Gives a worker the sessions of a slot. Everything is asked at once: a run that is asked next comes after it. */
  async function synchronise(host: Host, slot: number): Promise<void> {
    const stale = [...host.sessions].filter((session) => !sources.get(session)?.slots.has(slot));
    const missing = [...sources].filter(([session, { slots }]) => slots.has(slot) && !host.sessions.has(session));
    await Promise.all([
      ...stale.map((session) => unloadFrom(host, session)),
      ...missing.map(([session, { source }]) => {
        host.sessions.add(session);
        return openIn(host, session, source).catch((error) => {
          host.sessions.delete(session);
          onEvent({ event: 'model_not_in_worker', model: source.model, slot, message: String(error) });
        });
      }),
    ]);
  }

  async function unloadFrom(host: Host, session: number): Promise<void> {
    if (!host.sessions.delete(session)) return;
    await host.ask({ t: 'unload', session }).catch(() => undefined);
    host.opened.delete(session);
    countSessions();
  }

  async function openIn(host: Host, session: number, source: SessionSource): Promise<SessionShape> {
    const shape = (await host.ask({ t: 'load', session, source })) as SessionShape;
    host.opened.add(session);
    countSessions();
    return shape;
  }

  /** The run of `host` goes on outside the pool, once another worker is ready for the slot. */
  async function leave(host: Host, model: string, isOver: () => boolean, free: () => void): Promise<void> {
    const slot = hosts.indexOf(host);
    if (slot < 0 || away.size >= awayMax) return;
    const next = takeSpare();
    away.add(host);
    onEvent({ event: 'long_run', model, ms: longRunMs, away: away.size });
    await synchronise(next, slot);
    if (isOver() || hosts[slot] !== host) {
      away.delete(host);
      keep(next);
      return;
    }
    // what was loaded or unloaded meanwhile
    void synchronise(next, slot);
    hosts[slot] = next;
    free();
  }

  function keep(host: Host): void {
    if (spare || isClosed) void host.end();
    else spare = host;
  }

  function returned(host: Host): void {
    if (hosts.includes(host) || !away.delete(host)) return;
    keep(host);
  }

  return {
    size,
    async load(slot, session, source) {
      const entry = sources.get(session) ?? { source, slots: new Set<number>() };
      sources.set(session, entry);
      entry.slots.add(slot);
      const host = hosts[slot] as Host;
      host.sessions.add(session);
      try {
        const limitMs = loadTimes * runMaxMs;
        const opened = openIn(host, session, source);
        return await within(host, opened, limitMs, () => notLoaded(session, 'loaded', limitMs));
      } catch (error) {
        host.sessions.delete(session);
        entry.slots.delete(slot);
        throw error;
      }
    },
    measure(slot, session, options) {
      const host = hosts[slot] as Host;
      const measured = host.ask({ t: 'measure', session, options }) as Promise<Measurement>;
      return within(host, measured, runMaxMs, () => notLoaded(session, 'measured', runMaxMs));
    },
    async warm(slot, session, runs, budgetMs) {
      if (runs.length === 0) return;
      const host = hosts[slot] as Host;
      const limitMs = budgetMs + runMaxMs;
      const warmed = host.ask({ t: 'warm', session, runs, budgetMs });
      await within(host, warmed, limitMs, () => notLoaded(session, 'warmed up', limitMs));
    },
    async run(slot, { session, feeds, fetches, transfer, onGivenUp }, free) {
      const host = hosts[slot] as Host;
      const model = sources.get(session)?.source.model ?? '';
      let isOver = false;
      const timers = [setTimeout(() => void leave(host, model, () => isOver, free), longRunMs)];
      const late = () => {
        onGivenUp();
        return new MeshError(
          'MODEL_RUN_FAILED',
          `model "${model}" did not answer within ${runMaxMs} ms; it is given up`,
          { model, limit: runMaxMs },
        );
      };
      try {
        const answer = host.ask({ t: 'run', session, feeds, fetches }, transfer) as Promise<readonly WireTensor[]>;
        return await within(host, answer, runMaxMs, late);
      } finally {
        isOver = true;
        returned(host);
        for (const timer of timers) clearTimeout(timer);
      }
    },
    async unload(session) {
      sources.delete(session);
      await Promise.all(everyHost().map((host) => unloadFrom(host, session)));
    },
    async close() {
      isClosed = true;
      exitDespite();
      await Promise.all(everyHost().map((host) => host.end()));
    },
  };
}

type Ask<R = WorkerRequest> = R extends WorkerRequest ? Omit<R, 'id'> : never;

interface Host {
  /** It has them, or was told to. */
  readonly sessions: Set<number>;
  /** It has them until it says that they are released. */
  readonly opened: Set<number>;
  ask(request: Ask, transfer?: readonly ArrayBuffer[]): Promise<unknown>;
  end(): Promise<void>;
}

/** Threads that were told to end and are in native code still. */
const stuck = new Set<Worker>();

/** Node waits for every thread when it exits: with one that never ends, it would never. Nothing is left to do by then. */
function exitDespite(): void {
  process.once('exit', () => {
    if (stuck.size > 0) process.kill(process.pid, 'SIGKILL');
  });
}

/** One thread. */
function openHost(onLost: (host: Host) => void): Host {
  const worker = new Worker(new URL('./onnx-worker.ts', import.meta.url));
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let nextId = 0;
  let lost: MeshError | undefined;
  const host: Host = {
    sessions: new Set(),
    opened: new Set(),
    ask(request, transfer = []) {
      if (lost) return Promise.reject(lost);
      const id = nextId++;
      const asked = Promise.withResolvers<unknown>();
      waiting.set(id, asked);
      worker.postMessage({ ...request, id } as WorkerRequest, transfer);
      return asked.promise;
    },
    async end() {
      lose('was stopped');
      stuck.add(worker);
      const ended = worker.terminate().finally(() => stuck.delete(worker));
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, endMs).unref())]);
    },
  };
  const lose = (why: string) => {
    if (lost) return false;
    lost = new MeshError('MODEL_RUN_FAILED', `the worker that ran it ${why}; ask again`);
    for (const { reject } of waiting.values()) reject(lost);
    waiting.clear();
    return true;
  };
  worker.on('error', (error) => {
    if (lose(`ended: ${error.message}`)) onLost(host);
  });
  worker.on('exit', () => {
    if (lose('ended')) onLost(host);
  });
  worker.on('message', (answer: WorkerAnswer) => {
    const asked = waiting.get(answer.id);
    waiting.delete(answer.id);
    if (answer.t === 'done') asked?.resolve(answer.value);
    else asked?.reject(new MeshError(answer.reason, answer.message, answer.metadata));
  });
  return host;
}
