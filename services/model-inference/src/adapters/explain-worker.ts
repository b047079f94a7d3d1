/** Computes attributions off the service's event loop; models are run where they always are, by the scheduler. */
import { parentPort } from 'node:worker_threads';
import { type ExplainTrees, sampleShapley, treeExplainer } from '@millrace/explain';
import { MeshError, toMeshError } from '@millrace/kernel';
import { readOnnxTrees, readTreeModel, type TreeEnsemble } from '@millrace/trees';
import type {
  ExactJob,
  FromExplainer,
  SampledJob,
  ToExplainer,
  TreeSource,
  WireExplanation,
} from './explain-messages.ts';
import { readModelFile } from './model-file.ts';

const port = parentPort;
if (!port) throw new Error('explain-worker runs as a worker');

/** Ensembles that are kept in memory. */
const treesMax = 8;
/** Values of an answer. */
const valuesMax = 10_000_000;
/** Others get their turn after so long. */
const turnMs = 10;
/** Rows of a sampled explanation that are worked on at once, so that their calls share runs. */
const sampledAtOnce = 4;

interface Job {
  readonly aborter: AbortController;
  readonly calls: Map<number, PromiseWithResolvers<{ readonly scores: Float64Array; readonly outputs: number }>>;
}
const jobs = new Map<number, Job>();
let nextCall = 0;

port.on('message', (message: ToExplainer) => {
  switch (message.t) {
    case 'begin':
      void answer(message.id, message.job);
      return;
    case 'abort':
      end(message.id);
      return;
    case 'scored':
      jobs.get(message.id)?.calls.get(message.call)?.resolve(message);
      return;
    case 'not_scored':
      jobs
        .get(message.id)
        ?.calls.get(message.call)
        ?.reject(new MeshError(message.reason, message.message, message.metadata));
      return;
    default:
      message satisfies never;
  }
});

/** Nobody waits for the job any more. */
function end(id: number): void {
  const job = jobs.get(id);
  const gone = new MeshError('CANCELLED', 'nobody waits for it');
  job?.aborter.abort(gone);
  for (const call of job?.calls.values() ?? []) call.reject(gone);
}

async function answer(id: number, work: ExactJob | SampledJob): Promise<void> {
  const job: Job = { aborter: new AbortController(), calls: new Map() };
  jobs.set(id, job);
  try {
    const explanation = work.t === 'exact' ? await exact(work, job) : await sampled(id, work, job);
    post({ t: 'done', id, explanation });
  } catch (thrown) {
    const { reason, message, metadata } = toMeshError(thrown);
    post({ t: 'failed', id, reason, message, metadata });
  }
  jobs.delete(id);
}

function post(message: FromExplainer): void {
  port?.postMessage(message);
}

interface Trees {
  readonly ensemble: TreeEnsemble;
  readonly explain: ExplainTrees;
}
/** By file and width, the newest used last; what cannot be explained is remembered too. */
const known = new Map<string, Trees | MeshError>();

async function exact({ source, width, rows }: ExactJob, { aborter }: Job): Promise<WireExplanation> {
  const { ensemble, explain } = treesOf(source, width);
  const count = rows.length / width;
  const made = emptyExplanation(count, ensemble.outputs, width, ensemble.featureNames, false);
  let sinceMs = performance.now();
  for (let row = 0; row < count; row++) {
    const [outputs = []] = explain([rows.subarray(row * width, (row + 1) * width)]);
    for (const [output, attributions] of outputs.entries()) put(made, row, output, width, attributions);
    if (performance.now() - sinceMs < turnMs) continue;
    await new Promise((resolve) => setImmediate(resolve));
    aborter.signal.throwIfAborted();
    sinceMs = performance.now();
  }
  return made;
}

function treesOf(source: TreeSource, width: number): Trees {
  const key = `${source.path}@${source.sha256}@${width}`;
  const found = known.get(key) ?? openTrees(source, width);
  known.delete(key);
  known.set(key, found);
  for (const oldest of known.keys()) {
    if (known.size <= treesMax) break;
    known.delete(oldest);
  }
  if (found instanceof MeshError) throw found;
  return found;
}

function openTrees(source: TreeSource, width: number): Trees | MeshError {
  try {
    const bytes = readModelFile(source);
    const ensemble = source.isOnnx ? readOnnxTrees(bytes, width) : readTreeModel(bytes).ensemble;
    return { ensemble, explain: treeExplainer(ensemble) };
  } catch (thrown) {
    const error = toMeshError(thrown);
    // a file may be put right
    if (error.reason !== 'UNSUPPORTED') throw error;
    return error;
  }
}

async function sampled(id: number, work: SampledJob, job: Job): Promise<WireExplanation> {
  const { width, rows, pairs, seed, rowsPerCall } = work;
  const { signal } = job.aborter;
  const rowOf = (values: Float64Array, row: number) => values.subarray(row * width, (row + 1) * width);
  const background = Array.from({ length: work.background.length / width }, (_, row) => rowOf(work.background, row));
  const count = rows.length / width;
  let made: WireExplanation | undefined;
  for (let from = 0; from < count; from += sampledAtOnce) {
    const some = Array.from({ length: Math.min(sampledAtOnce, count - from) }, (_, at) => from + at);
    const explained = await Promise.all(
      some.map((row) =>
        sampleShapley((asked) => score(id, job, asked, width), rowOf(rows, row), background, {
          pairs,
          seed,
          rowsPerCall,
          signal,
        }),
      ),
    );
    for (const [at, outputs] of explained.entries()) {
      made ??= emptyExplanation(count, outputs.length, width, [], true);
      for (const [output, attributions] of outputs.entries()) put(made, from + at, output, width, attributions);
    }
  }
  return made ?? emptyExplanation(0, 0, width, [], true);
}

async function score(id: number, { calls }: Job, asked: readonly Float64Array[], width: number) {
  const call = nextCall++;
  const rows = new Float64Array(asked.length * width);
  for (const [at, row] of asked.entries()) rows.set(row, at * width);
  const answered = Promise.withResolvers<{ readonly scores: Float64Array; readonly outputs: number }>();
  calls.set(call, answered);
  port?.postMessage({ t: 'score', id, call, rows, count: asked.length } satisfies FromExplainer, [rows.buffer]);
  const { scores, outputs } = await answered.promise.finally(() => calls.delete(call));
  return asked.map((_, row) => scores.subarray(row * outputs, (row + 1) * outputs));
}

function emptyExplanation(
  rows: number,
  outputs: number,
  width: number,
  featureNames: readonly string[],
  isSampled: boolean,
): WireExplanation {
  if (rows * outputs * width > valuesMax)
    throw new MeshError(
      'LIMIT_EXCEEDED',
      `${rows} rows of ${outputs} outputs and ${width} features are ${rows * outputs * width} attributions, over ${valuesMax}; ask for fewer rows`,
      { rows, outputs, features: width, limit: valuesMax },
    );
  return {
    outputs,
    featureNames,
    values: new Float64Array(rows * outputs * width),
    standardErrors: isSampled ? new Float64Array(rows * outputs * width) : undefined,
    bases: new Float64Array(rows * outputs),
    margins: new Float64Array(rows * outputs),
    residuals: new Float64Array(rows * outputs),
  };
}

function put(
  made: WireExplanation,
  row: number,
  output: number,
  width: number,
  attributions: {
    readonly values: Float64Array;
    readonly standardErrors?: Float64Array;
    readonly base: number;
    readonly margin: number;
    readonly residual: number;
  },
): void {
  const at = row * made.outputs + output;
  made.values.set(attributions.values, at * width);
  if (attributions.standardErrors) made.standardErrors?.set(attributions.standardErrors, at * width);
  made.bases[at] = attributions.base;
  made.margins[at] = attributions.margin;
  made.residuals[at] = attributions.residual;
}
