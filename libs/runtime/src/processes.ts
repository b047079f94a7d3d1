import cluster, { type Worker } from 'node:cluster';
import { MeshError } from '@millrace/kernel';
import type { Logger } from './logger.ts';
import { aggregateMetrics, type Metrics, type MetricsJson } from './metrics.ts';
import type { ReadyInfo } from './ready-info.ts';

/** What processes of one service tell each other. */
type ToPrimary =
  | { readonly t: 'ready'; readonly ready: ReadyInfo }
  | { readonly t: 'metrics_wanted'; readonly id: number }
  | { readonly t: 'metrics'; readonly id: number; readonly json: MetricsJson };
type ToWorker =
  | { readonly t: 'metrics_wanted'; readonly id: number }
  | { readonly t: 'metrics_text'; readonly id: number; readonly text: string };

const metricsPatienceMs = 2_000;
const stopPatienceMs = 15_000;
const restartDelayMs = { min: 100, max: 5_000 };
/** A process that lived so long did not fail at its start. */
const healthyMs = 30_000;
const restartsInARowMax = 10;

export type Processes = {
  readonly ready: ReadyInfo;
  /** Rejects when processes end again and again. */
  readonly failed: Promise<never>;
  /** Tells all to stop, and ends those that do not. */
  stop(): Promise<void>;
};

/**
 * The first process of a service that runs as several: it starts the others, which listen on the same ports (node:cluster deals out the
 * connections in turns), starts another for each that ends, and adds up their metrics for whichever is asked. Resolves when all are ready.
 */
export async function startProcesses(
  count: number,
  { log, metrics }: { log: Logger; metrics: Metrics },
): Promise<Processes> {
  const running = metrics.gauge('millrace_processes', 'processes of the service that are ready');
  const restarts = metrics.counter('millrace_process_restarts_total', 'processes started in place of one that ended');
  const failure = Promise.withResolvers<never>();
  failure.promise.catch(() => {});
  const readyWorkers = new Set<Worker>();
  const gathering = new Map<number, Gathering>();
  let stopping = false;
  let restartsInARow = 0;
  let nextGathering = 0;

  function start(onReady: (ready: ReadyInfo) => void, onEnd: (why: string) => void): void {
    const startedMs = performance.now();
    const worker = cluster.fork();
    worker.on('message', (message: ToPrimary) => {
      if (message.t === 'ready') {
        readyWorkers.add(worker);
        running.set(readyWorkers.size);
        log.info({ event: 'process_ready', pid: worker.process.pid });
        onReady(message.ready);
      } else if (message.t === 'metrics_wanted') {
        void gather().then((text) => tell(worker, { t: 'metrics_text', id: message.id, text }));
      } else gathering.get(message.id)?.add(message.json);
    });
    worker.on('exit', (code, signal) => {
      const wasReady = readyWorkers.delete(worker);
      running.set(readyWorkers.size);
      if (stopping) return;
      if (!wasReady) return onEnd(`exit code ${code}`);
      const why = signal ? `signal ${signal}` : `exit code ${code}`;
      log.error({ event: 'process_ended', pid: worker.process.pid, why });
      if (performance.now() - startedMs > healthyMs) restartsInARow = 0;
      restart(why);
    });
  }

  function restart(why: string): void {
    restartsInARow++;
    if (restartsInARow > restartsInARowMax) {
      failure.reject(
        new MeshError(
          'PROCESS_FAILED',
          `processes of the service end again and again, the last with ${why}; see its log`,
          {
            restarts: restartsInARowMax,
          },
        ),
      );
      return;
    }
    const delayMs = restartsInARow === 1 ? 0 : Math.min(restartDelayMs.max, restartDelayMs.min * 2 ** restartsInARow);
    setTimeout(() => {
      if (stopping) return;
      restarts.inc();
      start(() => {}, restart);
    }, delayMs);
  }

  async function gather(): Promise<string> {
    const id = nextGathering++;
    const asked = [...readyWorkers];
    const own = await metrics.json();
    const all = await new Promise<MetricsJson[]>((resolve) => {
      const parts = [own];
      const done = () => {
        clearTimeout(timer);
        gathering.delete(id);
        resolve(parts);
      };
      const timer = setTimeout(done, metricsPatienceMs);
      gathering.set(id, {
        add(json) {
          parts.push(json);
          if (parts.length > asked.length) done();
        },
      });
      if (asked.length === 0) done();
      for (const worker of asked) tell(worker, { t: 'metrics_wanted', id });
    });
    return aggregateMetrics(all);
  }

  const ready = await new Promise<ReadyInfo>((resolve, reject) => {
    let left = count;
    const failedAtStart = (why: string) =>
      reject(new MeshError('PROCESS_FAILED', `a process of the service did not start: ${why}; see its log`, { why }));
    for (let i = 0; i < count; i++)
      start((info) => {
        if (--left === 0) resolve(info);
      }, failedAtStart);
  }).catch(async (thrown: unknown) => {
    await stop();
    throw thrown;
  });

  async function stop(): Promise<void> {
    stopping = true;
    const workers = Object.values(cluster.workers ?? {}).flatMap((worker) => worker ?? []);
    await Promise.all(
      workers.map(async (worker) => {
        if (worker.isDead()) return;
        const ended = new Promise((resolve) => worker.once('exit', resolve));
        worker.process.kill('SIGTERM');
        const forced = setTimeout(() => worker.process.kill('SIGKILL'), stopPatienceMs);
        await ended;
        clearTimeout(forced);
      }),
    );
  }

  return { ready, failed: failure.promise, stop };
}

type Gathering = { add(json: MetricsJson): void };

/** One of several processes: it answers the first when that asks for metrics, and asks it for those of all. */
export function joinProcesses(metrics: Metrics): { readonly metrics: Metrics; ready(info: ReadyInfo): void } {
  const waiting = new Map<number, (text: string) => void>();
  let next = 0;
  process.on('message', (message: ToWorker) => {
    if (message.t === 'metrics_text') waiting.get(message.id)?.(message.text);
    else void metrics.json().then((json) => report({ t: 'metrics', id: message.id, json }));
  });
  return {
    metrics: {
      ...metrics,
      text: () => {
        const id = next++;
        return new Promise<string>((resolve) => {
          const done = (text: string) => {
            waiting.delete(id);
            clearTimeout(timer);
            resolve(text);
          };
          // the first process is gone or busy: one's own are better than none
          const timer = setTimeout(() => void metrics.text().then(done), 2 * metricsPatienceMs);
          waiting.set(id, done);
          report({ t: 'metrics_wanted', id });
        });
      },
    },
    ready: (info) => report({ t: 'ready', ready: info }),
  };
}

function report(message: ToPrimary): void {
  if (process.connected) process.send?.(message);
}

function tell(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message);
}
