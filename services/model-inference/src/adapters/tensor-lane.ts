import type { BatchReport, Dispatcher } from '@millrace/batching';
import { MeshError } from '@millrace/kernel';
import type { LoadedModel, RunOptions } from '../app/model-book.ts';
import { rowsOf, type Tensors } from '../domain/batch-tensors.ts';
import type { BatchingChoice } from '../domain/batching-choice.ts';
import { drainMs, inputsOf, laneRequest, levelOf, outputsOf } from './lane-request.ts';

/** Failures of a batch that may be one request's doing. */
const itemsReasons: readonly string[] = ['MODEL_RUN_FAILED', 'INVALID_ARGUMENT'];

/** Requests that share a run, one below the other. */
export interface TensorBatch {
  readonly inputs: Tensors;
  readonly outputs: readonly string[];
  /** Of the inputs together; undefined when they do not begin with rows. */
  readonly rows: number | undefined;
  readonly requests: number;
  /** The latest of the requests' deadlines, epoch milliseconds; undefined when one has none. */
  readonly deadlineMs: number | undefined;
  /** Aborts when no request is wanted any more. */
  readonly signal: AbortSignal;
}

export interface TensorLaneOptions {
  readonly model: string;
  readonly version: string;
  /** Added to what is said of a deadline. */
  readonly where?: string;
  readonly dispatcher: Dispatcher;
  readonly slots: readonly number[];
  readonly batching: BatchingChoice;
  readonly queueMax: number;
  readonly nowMs: () => number;
  readonly onBatch: (model: string, version: string, batch: BatchReport) => void;
  run(slot: number, batch: TensorBatch): Promise<Tensors>;
}

interface Item {
  readonly inputs: Tensors;
  readonly outputs: readonly string[];
  readonly rows: number | undefined;
  readonly deadlineMs: number | undefined;
  readonly signal: AbortSignal;
}

/** A queue of a model that is run elsewhere; callers are answered by their deadline although the run goes on. */
export function openTensorLane(options: TensorLaneOptions): Pick<LoadedModel, 'run' | 'refusal' | 'waiting' | 'close'> {
  const { model, batching } = options;
  const lane = options.dispatcher.open<Item, Tensors>({
    name: `model "${model}"`,
    slots: options.slots,
    policy: { rowsMax: batching.rowsMax, delayMs: 0, queueMax: options.queueMax },
    cost: batching.cost,
    async run(slot, items) {
      const outputs = await options.run(slot, batchOf(items));
      return outputsOf(
        model,
        outputs,
        items.map(({ rows }) => rows ?? 1),
      );
    },
    isItems: (error) => error instanceof MeshError && itemsReasons.includes(error.reason),
    onBatch: (batch) => options.onBatch(model, options.version, batch),
  });
  return {
    async run(inputs, outputs, how: RunOptions = {}) {
      const rows = rowsOf(inputs);
      const time = callersTime(options, how);
      try {
        return await lane.submit(
          { inputs, outputs, rows, deadlineMs: how.deadlineMs, signal: time.signal },
          laneRequest(inputs, outputs, rows, { ...how, signal: time.signal }, batching.rowsMax),
        );
      } catch (error) {
        throw time.signal.reason instanceof MeshError ? time.signal.reason : error;
      } finally {
        time.stop();
      }
    },
    refusal: ({ deadlineMs, priority }) => lane.refusal({ rows: 1, level: levelOf(priority), deadlineMs }),
    waiting: () => lane.waiting(),
    close: () => lane.close(drainMs),
  };
}

function batchOf(items: readonly Item[]): TensorBatch {
  const [only] = items;
  const deadlines = items.map(({ deadlineMs }) => deadlineMs ?? Number.POSITIVE_INFINITY);
  const latestMs = Math.max(...deadlines);
  return {
    inputs: inputsOf(items),
    outputs: only?.outputs ?? [],
    rows: items.every(({ rows }) => rows !== undefined)
      ? items.reduce((sum, { rows = 0 }) => sum + rows, 0)
      : undefined,
    requests: items.length,
    deadlineMs: Number.isFinite(latestMs) ? latestMs : undefined,
    signal: items.length === 1 && only ? only.signal : allAborted(items.map(({ signal }) => signal)),
  };
}

function allAborted(signals: readonly AbortSignal[]): AbortSignal {
  const all = new AbortController();
  let left = signals.length;
  const one = () => {
    if (--left === 0) all.abort();
  };
  for (const signal of signals) {
    if (signal.aborted) one();
    else signal.addEventListener('abort', one, { once: true });
  }
  return all.signal;
}

/** Aborts when the caller is gone, and with DEADLINE_EXCEEDED when its time is over. */
function callersTime({ model, where, nowMs }: TensorLaneOptions, { signal, deadlineMs }: RunOptions) {
  const own = new AbortController();
  const leave = () => own.abort();
  if (signal?.aborted) leave();
  else signal?.addEventListener('abort', leave, { once: true });
  const leftMs = (deadlineMs ?? Number.POSITIVE_INFINITY) - nowMs();
  const late = () =>
    own.abort(
      new MeshError(
        'DEADLINE_EXCEEDED',
        `model "${model}"${where === undefined ? '' : ` ${where}`} did not answer before the request's deadline`,
        { model },
      ),
    );
  const timer = leftMs < 2 ** 31 ? setTimeout(late, Math.max(0, leftMs)) : undefined;
  return {
    signal: own.signal,
    stop() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', leave);
    },
  };
}
