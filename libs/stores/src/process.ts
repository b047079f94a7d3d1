import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, type WriteStream, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { MeshError } from '@millrace/kernel';
import { forgetGroup, reapWithParent } from './reaper.ts';

/** How a process tells that it is ready: by a line of its output, or by answering a question asked every 25 ms. */
export type ReadyProbe =
  | { readonly line: (line: string) => boolean }
  | { readonly poll: (signal: AbortSignal) => Promise<boolean> };

export type ProcessOptions = {
  /** What it is called in errors and log lines. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Added to (and overriding) this process's environment; `undefined` removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Both outputs are appended to this file; all of it is there when the process has ended. */
  readonly logFile?: string;
  /** Sees every line of both outputs, in arrival order. */
  readonly onLine?: (line: string) => void;
  readonly ready: ReadyProbe;
  /** Default 30,000. */
  readonly readyTimeoutMs?: number;
  /** Its nice value, from 0 to 19: the higher, the more it leaves to others. */
  readonly nice?: number;
  /** Aborting it during the start kills the process; afterwards it has no effect. */
  readonly signal?: AbortSignal;
};

export type ExitInfo = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

export type RunningProcess = {
  /** Of the present incarnation: `restart` changes it. */
  readonly pid: number;
  /** Settles (never rejects) when the present incarnation has ended. */
  readonly exited: Promise<ExitInfo>;
  readonly running: boolean;
  /** The last lines of both outputs, at most 200 kept. */
  tail(lines?: number): string;
  /** SIGTERM to the process group, SIGKILL after `graceMs` (default 5,000). Resolves when it has ended; idempotent. */
  stop(options?: { readonly graceMs?: number }): Promise<ExitInfo>;
  /** SIGKILL to the process group; resolves when it has ended. */
  kill9(): Promise<ExitInfo>;
  /** Stops it if it runs, then starts it again (with other arguments, if given) and waits until it is ready. */
  restart(options?: { readonly args?: readonly string[] }): Promise<void>;
};

const linesKept = 200;
const linesInErrors = 30;
const pollEveryMs = 25;

type Incarnation = {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly exited: Promise<ExitInfo>;
  ended: boolean;
};

/**
 * Starts a command as the leader of its own process group and waits until it is ready. Its end before that, or
 * `readyTimeoutMs` without readiness, throws MeshError PROCESS_FAILED with the last lines of its output.
 * The group is killed when this process ends, whatever ends it.
 */
export async function startProcess(options: ProcessOptions): Promise<RunningProcess> {
  const lines: string[] = [];
  const tail = (count = linesInErrors) => lines.slice(-count).join('\n');
  let args = options.args;
  let current = await launch(options, args, lines);

  async function end(first: NodeJS.Signals, graceMs: number): Promise<ExitInfo> {
    const { child, pid, exited } = current;
    if (!current.ended) {
      signalGroup(pid, first);
      const timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), graceMs);
      await exited.finally(() => clearTimeout(timer));
    }
    child.unref();
    return await exited;
  }

  return {
    get pid() {
      return current.pid;
    },
    get exited() {
      return current.exited;
    },
    get running() {
      return !current.ended;
    },
    tail,
    stop: ({ graceMs = 5_000 } = {}) => end('SIGTERM', graceMs),
    kill9: () => end('SIGKILL', 1_000),
    async restart(change = {}) {
      await end('SIGTERM', 5_000);
      args = change.args ?? args;
      current = await launch(options, args, lines);
    },
  };
}

async function launch(options: ProcessOptions, args: readonly string[], lines: string[]): Promise<Incarnation> {
  const { name, command, ready, readyTimeoutMs = 30_000, signal } = options;
  signal?.throwIfAborted();
  const waiters = new Set<(line: string) => void>();
  const incarnation = spawnChild(options, args, (line) => {
    if (lines.push(line) > linesKept) lines.shift();
    options.onLine?.(line);
    for (const waiter of waiters) waiter(line);
  });
  const done = new AbortController();
  const timeout = AbortSignal.timeout(readyTimeoutMs);
  const stop = AbortSignal.any([done.signal, timeout, ...(signal === undefined ? [] : [signal])]);
  const isReady =
    'line' in ready
      ? new Promise<'ready'>((resolve) => waiters.add((line) => (ready.line(line) ? resolve('ready') : undefined)))
      : untilTrue(ready.poll, stop);
  const aborted = new Promise<'aborted'>((resolve) => {
    stop.addEventListener('abort', () => resolve('aborted'), { once: true });
  });
  const outcome = await Promise.race([isReady, aborted, incarnation.exited]);
  waiters.clear();
  const timedOut = timeout.aborted;
  done.abort();
  if (outcome === 'ready') return incarnation;
  if (!incarnation.ended) signalGroup(incarnation.pid, 'SIGKILL');
  const exit = await incarnation.exited;
  signal?.throwIfAborted();
  const what =
    outcome === 'aborted' && timedOut
      ? `was not ready within ${readyTimeoutMs} ms`
      : `ended before it was ready (code ${exit.code}, signal ${exit.signal})`;
  const log = lines.slice(-linesInErrors).join('\n');
  throw new MeshError('PROCESS_FAILED', `process "${name}" ${what}; its last lines:\n${log}`, {
    process: name,
    command,
    code: String(exit.code),
    log,
  });
}

function spawnChild(
  { command, env, cwd, logFile, nice = 0 }: ProcessOptions,
  args: readonly string[],
  onLine: (line: string) => void,
): Incarnation {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  // at once: the threads that it starts inherit it
  if (nice > 0 && child.pid !== undefined) beNice(child.pid, nice);
  const log = openLog(logFile);
  for (const output of [child.stdout, child.stderr]) {
    if (output === null) continue;
    if (log !== undefined) output.on('data', (bytes: Buffer) => log.write(bytes));
    createInterface({ input: output }).on('line', onLine);
  }
  const exited = new Promise<ExitInfo>((resolve) => {
    const ended = (info: ExitInfo) => (log === undefined ? resolve(info) : log.end(() => resolve(info)));
    // 'close' comes after the last output line; a process that never started has 'error' alone.
    child.once('close', (code, signal) => ended({ code, signal }));
    child.once('error', (cause) => {
      onLine(`could not start "${command}": ${cause.message}`);
      if (child.pid === undefined) ended({ code: null, signal: null });
    });
  });
  const pid = child.pid ?? -1;
  if (pid > 0) reapWithParent(pid);
  const incarnation: Incarnation = { child, pid, exited, ended: false };
  child.once('exit', () => {
    incarnation.ended = true;
    // A grandchild that holds our pipes open must not keep the group (and 'close') waiting.
    signalGroup(pid, 'SIGKILL');
    forgetGroup(pid);
  });
  void exited.then(() => {
    incarnation.ended = true;
  });
  return incarnation;
}

/** Where Linux schedules by session (autogroups), a nice value alone counts only within the session: the session gets it too. */
function beNice(pid: number, nice: number): void {
  setPriority(pid, nice);
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(nice));
  } catch {
    // no such thing here: the nice value counts everywhere
  }
}

function openLog(file: string | undefined): WriteStream | undefined {
  if (file === undefined) return undefined;
  mkdirSync(dirname(file), { recursive: true });
  return createWriteStream(file, { flags: 'a' }).on('error', () => undefined);
}

async function untilTrue(poll: (signal: AbortSignal) => Promise<boolean>, stop: AbortSignal): Promise<'ready'> {
  while (!stop.aborted) {
    if (await poll(stop).catch(() => false)) return 'ready';
    await sleep(pollEveryMs);
  }
  return await new Promise<'ready'>(() => undefined);
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  if (pid <= 0) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // ESRCH: the group has ended already, which is what was asked for.
  }
}
