import { Worker } from 'node:worker_threads';
import { MeshError, toMeshError } from '@millrace/kernel';
import type { Explainer, ScoreRows } from '../app/explain.ts';
import type { ExactJob, FromExplainer, SampledJob, ToExplainer, WireExplanation } from './explain-messages.ts';
import { modelPath } from './model-path.ts';

export interface ExplainerOptions {
  readonly modelDir: string;
  /** Explanations that are worked on at once, of all callers. */
  readonly queueMax: number;
  /** How long a worker that is told to stop a job may take to do so. */
  readonly stopMs: number;
}

interface Job {
  readonly ended: PromiseWithResolvers<WireExplanation>;
  readonly score: ScoreRows | undefined;
}

/** One thread that computes attributions, started when it is first needed. */
export function createExplainer({
  modelDir,
  queueMax,
  stopMs,
}: ExplainerOptions): Explainer & { close(): Promise<void> } {
  const jobs = new Map<number, Job>();
  let worker: Worker | undefined;
  let nextId = 0;

  function failAll(why: string): void {
    for (const { ended } of jobs.values())
      ended.reject(new MeshError('MODEL_RUN_FAILED', `the worker that explained it ${why}; ask again`));
    jobs.clear();
  }

  function open(): Worker {
    const opened = new Worker(new URL('./explain-worker.ts', import.meta.url));
    const lost = (why: string) => {
      if (worker !== opened) return;
      worker = undefined;
      failAll(why);
    };
    opened.on('error', (error) => lost(`ended: ${error.message}`));
    opened.on('exit', () => lost('ended'));
    opened.on('message', (message: FromExplainer) => void took(opened, message));
    return opened;
  }

  async function took(from: Worker, message: FromExplainer): Promise<void> {
    const job = jobs.get(message.id);
    if (!job) return;
    const tell = (answer: ToExplainer) => from.postMessage(answer);
    if (message.t === 'done') job.ended.resolve(message.explanation);
    else if (message.t === 'failed') job.ended.reject(new MeshError(message.reason, message.message, message.metadata));
    else {
      const { id, call } = message;
      try {
        if (!job.score) throw new MeshError('INTERNAL', 'exact attributions run no model');
        tell({ t: 'scored', id, call, ...(await job.score(message.rows, message.count)) });
      } catch (thrown) {
        const { reason, message: text, metadata } = toMeshError(thrown);
        tell({ t: 'not_scored', id, call, reason, message: text, metadata });
      }
    }
  }

  async function explain(work: ExactJob | SampledJob, signal: AbortSignal, score?: ScoreRows) {
    signal.throwIfAborted();
    if (jobs.size >= queueMax)
      throw new MeshError(
        'OVERLOADED',
        `${jobs.size} explanations are being worked on, which is the limit; retry in a moment`,
        { limit: queueMax },
        { retryAfterMs: 1_000 },
      );
    worker ??= open();
    const used = worker;
    const id = nextId++;
    const ended = Promise.withResolvers<WireExplanation>();
    jobs.set(id, { ended, score });
    used.postMessage({ t: 'begin', id, job: work } satisfies ToExplainer);
    const isOver = ended.promise.then(
      () => undefined,
      () => undefined,
    );
    let stuck: NodeJS.Timeout | undefined;
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => {
      used.postMessage({ t: 'abort', id } satisfies ToExplainer);
      // a worker that does not stop computes one row for ever: the others must not wait for it
      stuck = setTimeout(() => void used.terminate(), stopMs);
      aborted.reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    void isOver.then(() => {
      jobs.delete(id);
      clearTimeout(stuck);
      signal.removeEventListener('abort', onAbort);
    });
    return Promise.race([ended.promise, aborted.promise]);
  }

  return {
    exact: (file, width, rows, signal) =>
      explain({ t: 'exact', source: { ...file, path: modelPath(modelDir, file.uri) }, width, rows }, signal),
    sampled: (work, score, signal) => explain({ t: 'sampled', ...work }, signal, score),
    async close() {
      const used = worker;
      worker = undefined;
      failAll('was stopped');
      await used?.terminate();
    },
  };
}
