import { MeshError } from '@millrace/kernel';
import { type ExplainAsk, type Explanation, pairsFor } from '../domain/explanation.ts';
import {
  type FeatureLayout,
  featureNames,
  layoutOfTensors,
  layoutOfWidth,
  numbersOf,
  rowsOfTensors,
  tensorsOfRows,
} from '../domain/feature-rows.ts';
import type { Tensor } from '../domain/tensor.ts';
import type { BookedModel, LoadedModel, RunOptions } from './model-book.ts';

/** What the model says of rows [count, width]: [count, outputs]. */
export type ScoreRows = (
  rows: Float64Array,
  count: number,
) => Promise<{ readonly scores: Float64Array; readonly outputs: number }>;

interface Made extends Pick<Explanation, 'values' | 'standardErrors' | 'bases' | 'margins' | 'residuals' | 'outputs'> {
  readonly featureNames: readonly string[];
}

/** A file whose trees are explained. */
export interface TreeFile {
  readonly model: string;
  readonly uri: string;
  readonly sha256: string;
  /** Else what XGBoost or LightGBM wrote. */
  readonly isOnnx: boolean;
}

/** What is sampled, and how finely. */
export interface SampledWork {
  readonly width: number;
  /** [rows, width] */
  readonly rows: Float64Array;
  /** [any, width] */
  readonly background: Float64Array;
  readonly pairs: number;
  readonly seed: number;
  readonly rowsPerCall: number;
}

/** Computes attributions off the event loop. */
export interface Explainer {
  /** UNSUPPORTED when the file has no trees that can be explained exactly; MODEL_LOAD_FAILED. */
  exact(file: TreeFile, width: number, rows: Float64Array, signal: AbortSignal): Promise<Made>;
  sampled(work: SampledWork, score: ScoreRows, signal: AbortSignal): Promise<Made>;
}

export type ExplainedModel = BookedModel & { readonly loaded: LoadedModel };

export interface Explain {
  /** Of tensors that the model takes. */
  tensors(
    model: ExplainedModel,
    tensors: ReadonlyMap<string, Tensor>,
    ask: ExplainAsk,
    options: RunOptions,
  ): Promise<Explanation>;
  /** Of rows of one value of each feature. */
  rows(
    model: ExplainedModel,
    rows: readonly ArrayLike<number>[],
    ask: ExplainAsk,
    options: RunOptions,
  ): Promise<Explanation>;
}

export interface ExplainDeps {
  readonly explainer: Explainer;
  readonly nowMs: () => number;
  readonly limits: {
    /** Rows of a request. */
    readonly rowsMax: number;
    /** Rows that the model is run on for one request. */
    readonly explainRowsMax: number;
    /** An explanation takes at most so long. */
    readonly explainMaxMs: number;
  };
}

export function createExplain(deps: ExplainDeps): Explain {
  return {
    tensors(model, tensors, ask, options) {
      const [first] = tensors.values();
      const layout = layoutOfTensors(model.name, model.loaded.inputs, tensors);
      const rows = rowsAllowed(deps, first?.shape[0] ?? 1);
      return explain(deps, { model, layout, ask, values: rowsOfTensors(layout, tensors, rows), rows }, options);
    },
    rows(model, given, ask, options) {
      const rows = rowsAllowed(deps, given.length);
      const layout = layoutOfWidth(model.name, model.loaded.inputs, given[0]?.length ?? 0);
      const values = flat(given, layout.width, 'a row');
      return explain(deps, { model, layout, ask, values, rows }, options);
    },
  };
}

interface Task {
  readonly model: ExplainedModel;
  readonly layout: FeatureLayout;
  readonly ask: ExplainAsk;
  readonly values: Float64Array;
  readonly rows: number;
}

function rowsAllowed({ limits }: ExplainDeps, rows: number): number {
  if (rows > 0 && rows <= limits.rowsMax) return rows;
  if (rows > 0)
    throw new MeshError('TOO_MANY_ROWS', `${rows} rows are over the limit of ${limits.rowsMax}; ask several times`, {
      rows,
      limit: limits.rowsMax,
    });
  throw new MeshError('INVALID_ARGUMENT', 'the request has no rows to explain; give rows, or keys', {});
}

async function explain(deps: ExplainDeps, task: Task, options: RunOptions): Promise<Explanation> {
  const { model, ask } = task;
  const time = timeOf(deps, options);
  try {
    if (ask.method === 'sampled') return await explainSampled(deps, task, 'sampled was asked for', time);
    try {
      return await explainExact(deps, task, time.signal);
    } catch (thrown) {
      const isMade = model.spec.trees !== undefined || ask.method === 'exact';
      if (isMade || !(thrown instanceof MeshError) || thrown.reason !== 'UNSUPPORTED') throw thrown;
      return await explainSampled(deps, task, thrown.message, time);
    }
  } finally {
    time.stop();
  }
}

interface Time {
  readonly signal: AbortSignal;
  readonly options: RunOptions;
  stop(): void;
}

/** The caller's deadline and patience, and our own limit. */
function timeOf({ limits, nowMs }: ExplainDeps, { deadlineMs, signal }: RunOptions): Time {
  const aborter = new AbortController();
  const leftMs = Math.min(limits.explainMaxMs, (deadlineMs ?? Number.POSITIVE_INFINITY) - nowMs());
  const timer = setTimeout(
    () =>
      aborter.abort(
        new MeshError(
          'DEADLINE_EXCEEDED',
          `the explanation was not made within ${Math.max(0, Math.round(leftMs))} ms; ask for fewer rows or pairs`,
          { limitMs: Math.max(0, Math.round(leftMs)) },
        ),
      ),
    Math.max(0, leftMs),
  );
  const merged = signal ? AbortSignal.any([signal, aborter.signal]) : aborter.signal;
  return {
    signal: merged,
    // the least urgent: predictions go first
    options: { deadlineMs: nowMs() + leftMs, signal: merged, priority: 3, ownsInputs: true },
    stop: () => clearTimeout(timer),
  };
}

/** Formats of files that may hold trees. */
const treeFormats: readonly string[] = ['onnx', 'xgboost', 'lightgbm'];

async function explainExact({ explainer }: ExplainDeps, task: Task, signal: AbortSignal): Promise<Explanation> {
  const { model, layout, rows, values } = task;
  if (model.spec.trees === undefined && !treeFormats.includes(model.spec.format))
    throw new MeshError('UNSUPPORTED', `it is a ${model.spec.format} model, and its definition names no trees`, {
      model: model.name,
    });
  const { uri, sha256 } = model.spec.trees ?? model.spec;
  const isOnnx = model.spec.trees === undefined && model.spec.format === 'onnx';
  const made = await explainer.exact({ model: model.name, uri, sha256, isOnnx }, layout.width, values, signal);
  const names = featureNames(layout, columnNames(model), made.featureNames);
  const labels = labelsOf(model, made.outputs);
  return { ...made, method: 'exact', note: '', output: 'margin', features: names, labels, rows, pairs: 0 };
}

async function explainSampled(deps: ExplainDeps, task: Task, note: string, time: Time): Promise<Explanation> {
  const { model, layout, ask, values, rows } = task;
  const output = outputOf(model, ask.output);
  const background = ask.background ?? [];
  if (background.length === 0)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `sampled attributions of model "${model.name}" need to know what features have that are not known: give background rows; it is not explained exactly: ${note}`,
      { model: model.name },
    );
  const pairs = ask.pairs ?? pairsFor(background.length);
  checkWork(deps, rows, pairs, layout.width);
  const rowsPerCall = Math.max(1, model.loaded.batching.rowsMax);
  const work = {
    width: layout.width,
    rows: values,
    background: flat(background, layout.width, 'a background row'),
    pairs,
    seed: ask.seed ?? 0,
    rowsPerCall,
  };
  const score = scoreOf(model, layout, output, time.options);
  const made = await deps.explainer.sampled(work, score, time.signal);
  const labels = model.loaded.facts.labels[output] ?? [];
  return {
    ...made,
    method: 'sampled',
    note,
    output,
    features: featureNames(layout, columnNames(model)),
    labels: labels.length === made.outputs ? labels : [],
    rows,
    pairs,
  };
}

function checkWork({ limits }: ExplainDeps, rows: number, pairs: number, width: number): void {
  const scored = rows * pairs * 2 * width;
  if (scored <= limits.explainRowsMax) return;
  throw new MeshError(
    'LIMIT_EXCEEDED',
    `${rows} rows with ${pairs} pairs over ${width} features run the model on ${scored} rows, over ${limits.explainRowsMax}; ask for fewer rows or pairs`,
    { rows, pairs, features: width, limit: limits.explainRowsMax },
  );
}

/** The output that is explained: floats, the score's where the model says which that is. */
function outputOf({ name, spec, loaded }: ExplainedModel, asked: string | undefined): string {
  const wanted = asked || spec.outputName;
  const floats = loaded.outputs.filter(({ datatype }) => /^FP/.test(datatype));
  const found = wanted === '' ? floats[0] : floats.find((output) => output.name === wanted);
  if (found) return found.name;
  throw new MeshError(
    'INVALID_ARGUMENT',
    `model "${name}" has no output "${wanted}" of floats to explain; such outputs: ${floats.map((output) => output.name).join(', ') || 'none'}`,
    { model: name, output: wanted },
  );
}

function scoreOf(model: ExplainedModel, layout: FeatureLayout, output: string, options: RunOptions): ScoreRows {
  return async (rows, count) => {
    const results = await model.loaded.run(tensorsOfRows(layout, rows, count), [output], options);
    const tensor = results.get(output);
    const outputs = (tensor?.data.length ?? 0) / count;
    if (!Number.isInteger(outputs) || outputs === 0)
      throw new MeshError(
        'UNSUPPORTED',
        `output "${output}" of model "${model.name}" has shape [${tensor?.shape}] for ${count} rows: it has no row for each, so none can be explained`,
        { model: model.name, output },
      );
    return { scores: Float64Array.from(numbersOf(tensor), Number), outputs };
  };
}

function columnNames({ spec }: ExplainedModel): readonly string[] {
  return spec.inputColumns.map(({ source }) => source?.value ?? '');
}

/** The classes, when there is a margin for each. */
function labelsOf({ loaded }: ExplainedModel, outputs: number): readonly string[] {
  return Object.values(loaded.facts.labels).find((labels) => labels.length === outputs) ?? [];
}

function flat(rows: readonly ArrayLike<number>[], width: number, what: string): Float64Array {
  const values = new Float64Array(rows.length * width);
  for (const [at, row] of rows.entries()) {
    if (row.length !== width)
      throw new MeshError('WRONG_TENSOR_SHAPE', `${what} has ${row.length} values for ${width} features`, {
        values: row.length,
        features: width,
      });
    values.set(Array.from(row), at * width);
  }
  return values;
}
