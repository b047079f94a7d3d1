import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Tensors } from '../../domain/batch-tensors.ts';
import type { HostAnswer, HostRequest, ModuleSource } from './messages.ts';
import { followLines, type OutputLine } from './output-lines.ts';

export interface ProcessLimits {
  readonly memoryMib: number;
  readonly loadTimeoutMs: number;
  readonly predictTimeoutMs: number;
}

export type Prediction =
  /** What the module gave, unchecked. */
  | { readonly t: 'done'; readonly outputs: unknown }
  /** The process goes on. */
  | { readonly t: 'threw'; readonly message: string }
  | Lost;

/** The process has ended, for this reason. */
export interface Lost {
  readonly t: 'lost';
  readonly why: string;
}

export type Loading =
  | { readonly t: 'loaded'; readonly signature: unknown; readonly process: ModelProcess }
  | { readonly t: 'failed'; readonly why: string };

/** A process that answers one call at a time. */
export interface ModelProcess {
  readonly isLost: () => boolean;
  predict(inputs: Tensors, outputs: readonly string[]): Promise<Prediction>;
  end(): void;
}

/** Half of the weight of the service's event loop, as its worker threads have. */
const niceness = 3;
const host = fileURLToPath(new URL('./host.ts', import.meta.url));
const hostFolder = fileURLToPath(new URL('./', import.meta.url));

/** Starts a process and loads the module in it. */
export async function startModelProcess(
  source: ModuleSource,
  limits: ProcessLimits,
  onLine: (line: OutputLine) => void,
): Promise<Loading> {
  // a line with it was written by the watchdog, not by the module
  const mark = randomUUID();
  const child = fork(host, [String(limits.memoryMib), mark], {
    serialization: 'advanced',
    // none of the service's own: no secrets, no NODE_OPTIONS
    env: {},
    stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
    execArgv: [
      '--permission',
      `--allow-fs-read=${hostFolder}*`,
      '--allow-worker',
      `--max-old-space-size=${limits.memoryMib}`,
      '--disable-warning=SecurityWarning',
      '--disable-warning=ExperimentalWarning',
    ],
  });
  const calls = callsOf(child, mark, limits, onLine);
  // what the start takes is part of the limit
  const deadlineMs = performance.now() + limits.loadTimeoutMs;
  const started = await calls.answer(limits.loadTimeoutMs, 'load');
  if (started.t === 'lost') return { t: 'failed', why: started.why };
  calls.send({ t: 'load', ...source });
  const loaded = await calls.answer(deadlineMs - performance.now(), 'load');
  if (loaded.t === 'loaded') return { t: 'loaded', signature: loaded.signature, process: processOf(calls, limits) };
  calls.end('');
  return {
    t: 'failed',
    why: loaded.t === 'lost' ? loaded.why : 'message' in loaded ? loaded.message : 'it did not load',
  };
}

function processOf(calls: Calls, limits: ProcessLimits): ModelProcess {
  let nextId = 0;
  return {
    isLost: calls.isLost,
    async predict(inputs, outputs) {
      const id = nextId++;
      calls.send({ t: 'predict', id, inputs: [...inputs].map(([name, tensor]) => ({ name, ...tensor })), outputs });
      const answer = await calls.answer(limits.predictTimeoutMs, 'predict');
      if (answer.t === 'lost') return answer;
      if (answer.t === 'done' && answer.id === id) return answer;
      if (answer.t === 'threw' && answer.id === id) return answer;
      calls.end('it sent a message of its own over the channel of its process');
      return { t: 'lost', why: 'it sent a message of its own over the channel of its process' };
    },
    end: () => calls.end('it was unloaded'),
  };
}

interface Calls {
  readonly isLost: () => boolean;
  send(request: HostRequest): void;
  /** The next thing that it says; when that takes too long the process is ended. */
  answer(timeoutMs: number, what: string): Promise<HostAnswer | Lost>;
  end(why: string): void;
}

function callsOf(child: ChildProcess, mark: string, limits: ProcessLimits, onLine: (line: OutputLine) => void): Calls {
  let waiting: ((answer: HostAnswer | Lost) => void) | undefined;
  let lost: Lost | undefined;
  let killedFor: string | undefined;
  let [lastLine, overMemory] = ['', ''];
  const lose = (why: string) => {
    lost ??= { t: 'lost', why };
    waiting?.(lost);
    waiting = undefined;
  };
  const end = (why: string) => {
    killedFor ??= why;
    child.kill('SIGKILL');
  };
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue;
    followLines(
      stream,
      () => performance.now(),
      (line) => {
        if (line.line.startsWith(mark)) overMemory = line.line.slice(mark.length + 1);
        else {
          if (line.line.includes('heap out of memory')) overMemory = 'its heap was full';
          lastLine = line.line;
          onLine(line);
        }
      },
    );
  }
  child.on('message', (answer: HostAnswer) => {
    waiting?.(answer);
    waiting = undefined;
  });
  child.on('error', (error) => lose(`its process did not start: ${error.message}`));
  child.on('disconnect', () => child.kill('SIGKILL'));
  // after the end of its output: 'close', not 'exit'
  child.on('close', (code, signal) => lose(killedFor ?? whyEnded(code, signal, overMemory, lastLine, limits)));
  child.stdin?.on('error', () => undefined);
  try {
    if (child.pid !== undefined) setPriority(child.pid, niceness);
  } catch {
    // another platform, or it has ended already
  }
  return {
    isLost: () => lost !== undefined || killedFor !== undefined,
    send(request) {
      // what cannot be sent is told by the end of the process
      if (child.connected) child.send(request, () => undefined);
    },
    answer: (timeoutMs, what) =>
      new Promise((resolve) => {
        if (lost) return resolve(lost);
        const timer = setTimeout(
          () =>
            end(
              `${what} took longer than ${durationOf(what === 'load' ? limits.loadTimeoutMs : limits.predictTimeoutMs)}, its limit`,
            ),
          Math.max(0, timeoutMs),
        );
        waiting = (answer) => {
          clearTimeout(timer);
          resolve(answer);
        };
      }),
    end,
  };
}

function whyEnded(
  code: number | null,
  signal: NodeJS.Signals | null,
  overMemory: string,
  lastLine: string,
  { memoryMib }: ProcessLimits,
): string {
  if (overMemory !== '') return `it took more than its ${memoryMib} MiB of memory (${overMemory})`;
  const how = signal === null ? `with exit code ${code}` : `by ${signal}`;
  return `its process ended ${how}${lastLine === '' ? '' : `: ${lastLine}`}`;
}

const durationOf = (ms: number) => (ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`);
