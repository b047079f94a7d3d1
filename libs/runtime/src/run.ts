import cluster from 'node:cluster';
import { type Clock, createSystemClock, toMeshError } from '@millrace/kernel';
import type { CommonConfig, Env } from './config.ts';
import { Lifecycle } from './lifecycle.ts';
import { measureLoopDelay } from './loop-delay.ts';
import { joinProcesses, startProcesses } from './processes.ts';
import type { ReadyInfo } from './ready-info.ts';
import { createTelemetry, type Telemetry } from './telemetry.ts';

export interface RunContext<C> {
  readonly config: C;
  readonly life: Lifecycle;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}

/**
 * Runs a service: config, parts in order, the ready line `{"event":"ready","service","grpc","http"}`, then until a signal or a part's
 * failure; parts stop in reverse. With `processes` above 1 that many of the same run on the same ports, under this one. A failed start or run ends the process with exit code 1 and a JSON line that says why.
 */
export async function run<C extends Pick<CommonConfig, 'logLevel' | 'otlpEndpoint'>>(
  service: string,
  loadConfig: (env: Env) => C,
  open: (context: RunContext<C>) => Promise<ReadyInfo>,
  options: { readonly processes?: (config: C) => number } = {},
): Promise<void> {
  const config = parse(service, loadConfig);
  if (config === undefined) return;
  const own = createTelemetry(service, config);
  const joined = cluster.isWorker ? joinProcesses(own.metrics) : undefined;
  const telemetry = joined ? { ...own, metrics: joined.metrics } : own;
  const processes = cluster.isPrimary ? (options.processes?.(config) ?? 1) : 1;
  const life = new Lifecycle(telemetry.log);
  life.onStop('loop delay', measureLoopDelay(own.metrics));
  life.onStop('traces', () => telemetry.tracer.close());
  const signalled = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
    // one of several processes does not outlive the first
    if (joined) process.once('disconnect', () => resolve());
  });
  process.on('unhandledRejection', (error) => life.fail(error));
  process.on('uncaughtException', (error) => life.fail(error));
  try {
    const started =
      processes > 1
        ? openProcesses(processes, life, telemetry)
        : open({ config, life, clock: createSystemClock(), telemetry });
    // a signal during the start stops what was started so far
    const ready = await Promise.race([started, signalled, failure(life)]);
    if (ready) {
      if (joined) joined.ready(ready);
      else process.stdout.write(`${JSON.stringify({ event: 'ready', service, ...ready })}\n`);
      await Promise.race([signalled, failure(life)]);
    }
  } catch (thrown) {
    const error = toMeshError(thrown, `${service} failed`);
    telemetry.log.error({ event: 'failed', reason: error.reason, message: error.message, stack: stackOf(thrown) });
    process.exitCode = 1;
  }
  await life.stop();
  process.exit();
}

function parse<C>(service: string, loadConfig: (env: Env) => C): C | undefined {
  try {
    return loadConfig(process.env);
  } catch (thrown) {
    const error = toMeshError(thrown);
    process.stdout.write(
      `${JSON.stringify({ level: 'error', service, event: 'failed', reason: error.reason, message: error.message })}\n`,
    );
    process.exitCode = 1;
    return undefined;
  }
}

async function openProcesses(count: number, life: Lifecycle, telemetry: Telemetry): Promise<ReadyInfo> {
  const processes = await life.start(
    'processes',
    () => startProcesses(count, telemetry),
    (started) => started.stop(),
  );
  processes.failed.catch((thrown: unknown) => life.fail(thrown));
  return processes.ready;
}

async function failure(life: Lifecycle): Promise<never> {
  throw await life.failed;
}

function stackOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return thrown.cause instanceof Error
    ? `${thrown.stack}\ncaused by ${thrown.cause.stack}`
    : (thrown.stack ?? thrown.message);
}
