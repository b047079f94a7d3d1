import { type BatchReport, createDispatcher } from '@millrace/batching';
import type { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { ConsecutiveBreaker } from 'cockatiel';
import type { LoadedModel, LoadRequest, ModelLoader } from '../../app/model-book.ts';
import type { BatchingChoice } from '../../domain/batching-choice.ts';
import { checkOutputs } from '../../domain/check-outputs.ts';
import { createBreaker } from '../breaker.ts';
import { openTensorLane, type TensorBatch } from '../tensor-lane.ts';
import type { ModuleSource } from './messages.ts';
import { type ModelProcess, type ProcessLimits, startModelProcess } from './model-process.ts';
import { type ReadSignature, readModuleSource, readSignature } from './module-source.ts';

/** Losses of its process in a row, each with a request of its own, after which a model is left alone. */
const lossesMax = 3;
/** How long it is left alone: at first, and at most. */
const pausedMs = 1_000;
const pausedMsMax = 5_000;

interface LogEvent {
  readonly event: string;
  readonly [field: string]: string | number;
}

export interface CustomRuntimeOptions {
  readonly modelDir: string;
  /** Requests that wait for a model. */
  readonly queueMax: number;
  /** Rows of a batch. */
  readonly batchRowsMax: number;
  /** MiB that a definition may ask for. */
  readonly customMemoryMibMax: number;
  readonly nowMs: () => number;
  readonly onEvent: (event: LogEvent) => void;
  /** A line that a module has printed. */
  readonly onSaid: (event: LogEvent) => void;
  readonly onBatch: (model: string, version: string, batch: BatchReport) => void;
}

/**
 * Models written in TypeScript or JavaScript, each in processes of its own: what one does, throws, loops over or takes of memory is felt by
 * its own callers alone (services/model-inference/decisions/0001).
 */
export function createCustomRuntime(options: CustomRuntimeOptions): { readonly load: ModelLoader } {
  return {
    async load(request) {
      const limits = limitsOf(request, options.customMemoryMibMax);
      const source = await readModuleSource(request, options.modelDir);
      const start = () =>
        startModelProcess(source, limits, ({ line, dropped }) =>
          options.onSaid({ event: 'custom_model_said', model: request.name, line, dropped }),
        );
      const count = request.custom?.processes || 1;
      const first = await start();
      if (first.t === 'failed') throw loadFailed(request, first.why);
      try {
        const signature = readSignature(request.name, request.uri, first.signature);
        const processes = createProcesses(request.name, count, first.process, start, options.onEvent);
        return createModel(request, source, signature, processes, options);
      } catch (error) {
        first.process.end();
        throw error;
      }
    },
  };
}

function limitsOf({ name, custom }: LoadRequest, memoryMibMax: number): ProcessLimits {
  const given = custom ?? ({} as Partial<definitions.CustomModel>);
  const memoryMib = given.memoryMib || 256;
  if (memoryMib > memoryMibMax)
    throw new MeshError(
      'MODEL_LOAD_FAILED',
      `model "${name}" asks for ${memoryMib} MiB and this server gives custom models ${memoryMibMax} at most (MILLRACE_INFERENCE_CUSTOM_MEMORY_MIB_MAX)`,
      { model: name, memoryMib, limit: memoryMibMax },
    );
  return {
    memoryMib,
    loadTimeoutMs: Number(given.loadTimeoutUs || 30_000_000n) / 1_000,
    predictTimeoutMs: Number(given.predictTimeoutUs || 5_000_000n) / 1_000,
  };
}

function loadFailed({ name, uri }: LoadRequest, why: string): MeshError {
  return new MeshError('MODEL_LOAD_FAILED', `model "${name}" could not be loaded: module "${uri}": ${why}`, {
    model: name,
    uri,
  });
}

/** The processes of a model, one for each slot: started when they are needed, and again when they are lost. */
interface Processes {
  readonly count: number;
  /** MODEL_RUN_FAILED, with `isLost`, when it does not start. */
  ofSlot(slot: number): Promise<ModelProcess>;
  /** Has the process of a slot that is lost started again before somebody asks. */
  renew(slot: number): void;
  end(): void;
}

function createProcesses(
  model: string,
  count: number,
  first: ModelProcess,
  start: () => ReturnType<typeof startModelProcess>,
  onEvent: CustomRuntimeOptions['onEvent'],
): Processes {
  const slots: (Promise<ModelProcess> | undefined)[] = [Promise.resolve(first)];
  let isEnded = false;
  const started = async () => {
    const loading = await start();
    if (loading.t === 'failed')
      throw new ProcessLost(`model "${model}" could not be started again: ${loading.why}`, model);
    if (isEnded) loading.process.end();
    return loading.process;
  };
  const fresh = (slot: number) => {
    const starting = started();
    slots[slot] = starting;
    starting.catch(() => {
      if (slots[slot] === starting) slots[slot] = undefined;
    });
    return starting;
  };
  const processes: Processes = {
    count,
    async ofSlot(slot) {
      const known = await (slots[slot] ?? fresh(slot));
      return known.isLost() ? fresh(slot) : known;
    },
    renew(slot) {
      onEvent({ event: 'custom_model_restarted', model, slot });
      void fresh(slot).catch(() => undefined);
    },
    end() {
      isEnded = true;
      for (const slot of slots) void slot?.then((process) => process.end()).catch(() => undefined);
    },
  };
  for (let slot = 1; slot < count; slot++) void fresh(slot).catch(() => undefined);
  return processes;
}

/** The process is gone, and this request may be why. */
class ProcessLost extends MeshError {
  constructor(message: string, model: string) {
    super('MODEL_RUN_FAILED', message, { model });
  }
}

function createModel(
  request: LoadRequest,
  source: ModuleSource,
  signature: ReadSignature,
  processes: Processes,
  options: CustomRuntimeOptions,
): LoadedModel {
  const { name } = request;
  const breaker = createBreaker({
    name: `model "${name}"`,
    breaker: new ConsecutiveBreaker(lossesMax),
    openMs: pausedMs,
    openMsMax: pausedMsMax,
    onChange: (state, why) => options.onEvent({ event: `custom_model_breaker_${state}`, model: name, why }),
  });
  const batching = batchingOf(signature, options.batchRowsMax);

  async function predict(slot: number, batch: TensorBatch) {
    const process = await processes.ofSlot(slot);
    const prediction = await process.predict(batch.inputs, batch.outputs);
    switch (prediction.t) {
      case 'done':
        return checkOutputs(
          name,
          signature.outputs,
          batch.outputs,
          prediction.outputs,
          signature.batching ? batch.rows : undefined,
        );
      case 'threw':
        throw new MeshError('MODEL_RUN_FAILED', `model "${name}" failed: ${prediction.message}`, { model: name });
      case 'lost':
        throw new ProcessLost(`model "${name}" failed: ${prediction.why}`, name);
      default:
        return prediction satisfies never;
    }
  }

  const lane = openTensorLane({
    model: name,
    version: request.version,
    dispatcher: createDispatcher({ slots: processes.count, nowMs: options.nowMs }),
    slots: Array.from({ length: processes.count }, (_, slot) => slot),
    batching,
    queueMax: options.queueMax,
    nowMs: options.nowMs,
    onBatch: options.onBatch,
    async run(slot, batch) {
      // a batch that is lost is tried in halves: only who is lost alone is why
      const counts = () => batch.requests === 1 || breaker.isTrying();
      try {
        return await breaker.run(
          () => predict(slot, batch),
          (error) => error instanceof ProcessLost && counts(),
        );
      } catch (error) {
        if (error instanceof ProcessLost && !breaker.refusal()) processes.renew(slot);
        throw error;
      }
    },
  });
  return {
    ...lane,
    inputs: signature.inputs,
    outputs: signature.outputs,
    facts: {
      irVersion: 0,
      opsets: {},
      producer: 'custom',
      producerVersion: '',
      metadata: { module: source.uri },
      labels: {},
      changes: [],
      batching: batching.unsafe === undefined ? { t: 'safe' } : { t: 'unsafe', reason: batching.unsafe },
    },
    batching,
    unready: () => breaker.refusal(),
    async close() {
      await lane.close();
      processes.end();
    },
  };
}

function batchingOf({ batching }: ReadSignature, batchRowsMax: number): BatchingChoice {
  const cost = { fixedMs: 0, rowMs: 0 };
  if (!batching) {
    const unsafe = 'the signature of its module has no batching';
    return { rowsMax: 1, cost, unsafe, curve: [], why: `requests are not batched: ${unsafe}` };
  }
  const rowsMax = Math.min(batching.rowsMax, batchRowsMax);
  return { rowsMax, cost, unsafe: undefined, curve: [], why: `at most ${rowsMax} rows: its module says so` };
}
