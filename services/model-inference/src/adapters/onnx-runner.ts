import { stat } from 'node:fs/promises';
import { type BatchReport, createDispatcher, type Dispatcher, type LaneHandle } from '@millrace/batching';
import { MeshError } from '@millrace/kernel';
import type { LoadedModel, LoadRequest, ModelLoader, RunOptions } from '../app/model-book.ts';
import { rowsOf, type Tensors } from '../domain/batch-tensors.ts';
import { type BatchingChoice, chooseBatching, measuredRows, plannedBatching } from '../domain/batching-choice.ts';
import type { ServingPlan } from '../domain/serving-plan.ts';
import type { Tensor, TensorData, TensorSpec } from '../domain/tensor.ts';
import { drainMs, inputsOf, laneRequest, levelOf, outputsOf } from './lane-request.ts';
import { type LocalSession, openLocal } from './local-session.ts';
import { modelPath } from './model-path.ts';
import { datatypeOf, ortTypeOf } from './onnx-datatypes.ts';
import type { SessionShape, SessionSource, WireSpec, WireTensor } from './onnx-messages.ts';
import { createWorkerPool, type PoolOptions, type WorkerPool } from './worker-pool.ts';

/** What measuring a model at load may take. */
const measureMs = 120;
/** What warming up a session with requests may take. */
const warmUpMs = 250;
/** A model's file above this is loaded by one worker alone: each session has its own weights. */
const sharedBytesMax = 64 * 2 ** 20;
/** Runs of a model that are given up, each of which costs a core until the process ends; then the model is not run any more. */
const givenUpMax = 2;
/** From here on a request's own tensors change hands instead of being copied to the worker. */
const transferBytesMin = 65_536;

export interface OnnxRuntime {
  readonly load: ModelLoader;
  close(): Promise<void>;
}

export interface RuntimeOptions {
  readonly modelDir: string;
  readonly threads: number;
  /** Requests that wait for a model. */
  readonly queueMax: number;
  readonly workers: number;
  /** Rows of a batch. */
  readonly batchRowsMax: number;
  readonly longRunMs: number;
  readonly runMaxMs: number;
  readonly nowMs: () => number;
  readonly onEvent: PoolOptions['onEvent'];
  readonly onSessions?: PoolOptions['onSessions'];
  readonly onBatch: (model: string, version: string, batch: BatchReport) => void;
}

/** ONNX models in a pool of workers that all models share; one scheduler says who runs next. */
export function createOnnxRuntime(options: RuntimeOptions): OnnxRuntime {
  const pool = createWorkerPool({ ...options, size: options.workers });
  const dispatcher = createDispatcher({ slots: options.workers, nowMs: options.nowMs });
  let nextSession = 0;
  let turn: Promise<unknown> = Promise.resolve();

  async function load(request: LoadRequest): Promise<LoadedModel> {
    const session = nextSession++;
    const source = await sourceOf(request, options);
    const slots =
      source.bytes > sharedBytesMax
        ? [session % pool.size]
        : Array.from({ length: pool.size }, (_, slot) => slot)
            .reverse()
            .slice(0, request.plan?.instances);
    try {
      const runs = (request.warmUp ?? []).map(feedsOf);
      const opening = { session, source, slots, runs, plan: request.plan };
      const { shape, choice } = await open(pool, dispatcher, opening, options.batchRowsMax);
      const local = await openLocal(source, shape, choice.curve);
      const why = local.t === 'local' ? local.session.why : local.why;
      return createModel({
        ...{ request, session, shape, slots, pool, dispatcher, options },
        choice: { ...choice, why: `${choice.why}; ${why}` },
        local: local.t === 'local' ? local.session : undefined,
      });
    } catch (error) {
      await pool.unload(session);
      throw error;
    }
  }

  return {
    // one at a time: the other workers go on
    load(request) {
      const loaded = turn.then(() => load(request));
      turn = loaded.catch(() => undefined);
      return loaded;
    },
    close: () => pool.close(),
  };
}

/**
 * Opens the session in each of its slots and runs it there before it serves: in the first with every batch size that is measured, in the others with a row and with the largest batch;
 * then with requests, which have the sizes and texts that a made-up row has not.
 */
async function open(
  pool: WorkerPool,
  dispatcher: Dispatcher,
  opening: {
    readonly session: number;
    readonly source: SessionSource;
    readonly slots: readonly number[];
    readonly runs: readonly (readonly WireTensor[])[];
    readonly plan: ServingPlan | undefined;
  },
  batchRowsMax: number,
): Promise<{ shape: SessionShape; choice: BatchingChoice }> {
  const { session, source, slots, runs, plan } = opening;
  const [first = 0, ...others] = slots;
  const opened = await dispatcher.reserve(first, async () => {
    const shape = await pool.load(first, session, source);
    const rowsMax = plan ? Math.max(1, plan.rowsMax) : batchRowsMax;
    const measured = await pool.measure(first, session, { rows: measuredRows(rowsMax), budgetMs: measureMs });
    await pool.warm(first, session, runs, warmUpMs);
    const unsafe = shape.facts.batching.t === 'unsafe' ? shape.facts.batching.reason : measured.unsafe;
    const choice = plan
      ? plannedBatching(source.model, plan, measured.curve, unsafe)
      : chooseBatching(rowsMax, measured.curve, unsafe);
    return { shape, choice };
  });
  for (const slot of others) {
    await dispatcher.reserve(slot, async () => {
      await pool.load(slot, session, source);
      // the first run of a session takes longest, and so does the first of a size
      const rows = [...new Set([1, opened.choice.rowsMax])];
      await pool.measure(slot, session, { rows, budgetMs: warmUpMs });
      await pool.warm(slot, session, runs, warmUpMs);
    });
  }
  return opened;
}

async function sourceOf(request: LoadRequest, { modelDir, threads }: RuntimeOptions) {
  const { name, uri, sha256, format, plan } = request;
  const path = modelPath(modelDir, uri);
  const file = await stat(path).catch((cause) => {
    throw new MeshError(
      'MODEL_LOAD_FAILED',
      `model "${name}": no file "${uri}" in the model repository "${modelDir}"`,
      { model: name, uri },
      { cause },
    );
  });
  return { path, sha256, uri, model: name, format, threads: plan?.threads ?? threads, bytes: file.size };
}

interface RunItem {
  readonly inputs: Tensors;
  readonly outputs: readonly string[];
  /** Infinite where inputs differ: such a request runs alone, in a worker. */
  readonly rows: number;
  readonly owned: boolean;
}

function createModel(parts: {
  readonly request: LoadRequest;
  readonly session: number;
  readonly shape: SessionShape;
  readonly choice: BatchingChoice;
  readonly slots: readonly number[];
  readonly pool: WorkerPool;
  readonly local: LocalSession | undefined;
  readonly dispatcher: Dispatcher;
  readonly options: RuntimeOptions;
}): LoadedModel {
  const { request, session, choice, pool, local, options } = parts;
  const { name } = request;
  let givenUp = 0;
  const lane: LaneHandle<RunItem, Tensors> = parts.dispatcher.open<RunItem, Tensors>({
    name: `model "${name}"`,
    slots: parts.slots,
    policy: {
      rowsMax: choice.rowsMax,
      delayMs: 0,
      queueMax: request.plan?.queueMax ?? options.queueMax,
      ...request.plan?.batching,
    },
    cost: choice.cost,
    async run(slot, items, free) {
      if (givenUp >= givenUpMax) throw exhausted(name, options.runMaxMs);
      const [only] = items;
      const feeds = feedsOf(inputsOf(items));
      const fetches = only?.outputs ?? [];
      const transfer = () => (items.length > 1 || only?.owned ? buffersOf(feeds) : []);
      const wire = local?.takes(items.reduce((sum, { rows }) => sum + rows, 0))
        ? await runLocal(name, local, feeds, fetches)
        : await pool.run(
            slot,
            { session, feeds, fetches, transfer: transfer(), onGivenUp: () => void givenUp++ },
            free,
          );
      const outputs = new Map(wire.map((output) => [output.name, tensorOf(output)]));
      return outputsOf(
        name,
        outputs,
        items.map(({ rows }) => rows),
      );
    },
    // one that was given up would be so again
    isItems: (error) =>
      error instanceof MeshError && error.reason === 'MODEL_RUN_FAILED' && error.metadata.limit === undefined,
    onBatch: (batch) => options.onBatch(name, request.version, batch),
  });
  return {
    inputs: parts.shape.inputs.map(toSpec),
    outputs: parts.shape.outputs.map(toSpec),
    facts: parts.shape.facts,
    batching: choice,
    run(inputs, outputs, how: RunOptions = {}) {
      const rows = rowsOf(inputs);
      return lane.submit(
        { inputs, outputs, rows: rows ?? Number.POSITIVE_INFINITY, owned: how.ownsInputs === true },
        laneRequest(inputs, outputs, rows, how, choice.rowsMax),
      );
    },
    refusal: ({ deadlineMs, priority }) => lane.refusal({ rows: 1, level: levelOf(priority), deadlineMs }),
    waiting: () => lane.waiting(),
    close: async () => {
      await lane.close(drainMs);
      await Promise.all([pool.unload(session), local?.release()]);
    },
  };
}

function exhausted(model: string, limit: number): MeshError {
  return new MeshError(
    'MODEL_RUN_FAILED',
    `model "${model}" is not run any more: ${givenUpMax} of its runs took longer than ${limit} ms; unload and load it to try again, restart to get their cores back`,
    { model, limit },
  );
}

async function runLocal(
  model: string,
  local: LocalSession,
  feeds: readonly WireTensor[],
  fetches: readonly string[],
): Promise<readonly WireTensor[]> {
  try {
    return await local.run(feeds, fetches);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError('MODEL_RUN_FAILED', `model "${model}" failed: ${message}`, { model }, { cause });
  }
}

function feedsOf(inputs: Tensors): WireTensor[] {
  return [...inputs].map(([name, { datatype, shape, data }]) => ({ name, type: ortTypeOf(datatype), shape, data }));
}

function buffersOf(feeds: readonly WireTensor[]): ArrayBuffer[] {
  return feeds.flatMap(({ data }) =>
    ArrayBuffer.isView(data) && data.buffer instanceof ArrayBuffer && data.byteLength >= transferBytesMin
      ? [data.buffer]
      : [],
  );
}

function tensorOf({ type, shape, data }: WireTensor): Tensor {
  return { datatype: datatypeOf(type), shape, data: data as TensorData };
}

function toSpec({ name, type, shape }: WireSpec): TensorSpec {
  return { name, datatype: datatypeOf(type), shape };
}
