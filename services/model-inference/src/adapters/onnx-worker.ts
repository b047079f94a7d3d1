/** Runs models off the service's event loop: onnxruntime-node's create and run are synchronous, and so are trees. */
import { parentPort } from 'node:worker_threads';
import { MeshError } from '@millrace/kernel';
import { keepHalfFloatsAsBits } from './half-floats.ts';
import { measureSession } from './measure-session.ts';
import { readModelFile } from './model-file.ts';
import type { SessionSource, WireSpec, WireTensor, WorkerAnswer, WorkerRequest } from './onnx-messages.ts';
import { openOnnx } from './onnx-session.ts';
import type { Session } from './session.ts';
import { yieldToEventLoop } from './thread-priority.ts';
import { openTrees } from './tree-session.ts';

const port = parentPort;
if (!port) throw new Error('onnx-worker runs as a worker');
keepHalfFloatsAsBits();
const priority = yieldToEventLoop();

interface Loaded {
  readonly model: string;
  readonly session: Session;
}
const sessions = new Map<number, Loaded>();

// one after the other: a session takes one call at a time
let turn: Promise<void> = Promise.resolve();
port.on('message', (request: WorkerRequest) => {
  turn = turn.then(() => answer(request));
});

async function answer(request: WorkerRequest): Promise<void> {
  try {
    // a batch that waits is in a hurry, and a version that is loaded is not
    const value = await (request.t === 'run' ? serve(request) : priority.givingWay(() => serve(request)));
    const transfer = request.t === 'run' ? buffersOf(value as readonly WireTensor[]) : [];
    port?.postMessage({ t: 'done', id: request.id, value } satisfies WorkerAnswer, transfer);
  } catch (error) {
    const known =
      error instanceof MeshError
        ? error
        : new MeshError('MODEL_RUN_FAILED', error instanceof Error ? error.message : String(error));
    const { reason, message, metadata } = known;
    port?.postMessage({ t: 'error', id: request.id, reason, message, metadata } satisfies WorkerAnswer);
  }
}

async function serve(request: WorkerRequest): Promise<unknown> {
  if (request.t === 'load') {
    const loaded = await load(request.source);
    sessions.set(request.session, loaded);
    return loaded.session.shape;
  }
  const loaded = sessions.get(request.session);
  if (!loaded) throw new Error('its session is not in this worker');
  switch (request.t) {
    case 'unload':
      sessions.delete(request.session);
      return loaded.session.release();
    case 'measure':
      return measureSession(
        loaded.session.shape,
        (feeds) => run(loaded, feeds, namesOf(loaded.session.shape.outputs)),
        request.options,
      );
    case 'warm':
      return warm(loaded, request.runs, request.budgetMs);
    case 'run':
      return run(loaded, request.feeds, request.fetches);
    default:
      return request satisfies never;
  }
}

const namesOf = (specs: readonly WireSpec[]) => specs.map(({ name }) => name);

async function load({ path, sha256, uri, model, threads, format }: SessionSource): Promise<Loaded> {
  const bytes = readModelFile({ path, uri, sha256, model });
  try {
    return { model, session: await openSession(bytes, format, threads) };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError('MODEL_LOAD_FAILED', `model "${model}" could not be loaded: ${message}`, { model }, { cause });
  }
}

function openSession(bytes: Uint8Array, format: string, threads: number): Session | Promise<Session> {
  return format === 'xgboost' || format === 'lightgbm' ? openTrees(bytes, format) : openOnnx(bytes, threads);
}

/** A request that another version could answer may fail on this one: that is for its callers to hear. */
async function warm(loaded: Loaded, runs: readonly (readonly WireTensor[])[], budgetMs: number): Promise<void> {
  const untilMs = performance.now() + budgetMs;
  for (const feeds of runs) {
    if (performance.now() > untilMs) return;
    await run(loaded, feeds, namesOf(loaded.session.shape.outputs)).catch(() => undefined);
  }
}

async function run({ model, session }: Loaded, feeds: readonly WireTensor[], fetches: readonly string[]) {
  try {
    return await session.run(feeds, fetches);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError('MODEL_RUN_FAILED', `model "${model}" failed: ${message}`, { model }, { cause });
  }
}

/** Buffers that change hands instead of being copied. */
function buffersOf(tensors: readonly WireTensor[]): ArrayBuffer[] {
  const buffers = tensors.flatMap(({ data }) =>
    ArrayBuffer.isView(data) && data.buffer instanceof ArrayBuffer ? [data.buffer] : [],
  );
  return [...new Set(buffers)];
}
