import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isAbsolute, join, normalize } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { MeshError } from '@millrace/kernel';
import type { LoadedModel, ModelLoader } from '../app/model-book.ts';
import type { Datatype, Tensor, TensorData, TensorSpec } from '../domain/tensor.ts';
import type { WireSpec, WorkerAnswer, WorkerRequest, WorkerStart } from './onnx-messages.ts';

const datatypes: Readonly<Record<string, Datatype>> = {
  bool: 'BOOL',
  uint8: 'UINT8',
  uint16: 'UINT16',
  uint32: 'UINT32',
  uint64: 'UINT64',
  int8: 'INT8',
  int16: 'INT16',
  int32: 'INT32',
  int64: 'INT64',
  float16: 'FP16',
  float32: 'FP32',
  float64: 'FP64',
  string: 'BYTES',
};
const ortTypes = Object.fromEntries(Object.entries(datatypes).map(([type, datatype]) => [datatype, type])) as Readonly<
  Record<Datatype, string>
>;

/** How long a model that is unloaded may work on what waits for it. */
const drainMs = 5_000;

/** Loads ONNX models, each in a worker thread of its own, so that loading one never holds up another. */
export function createOnnxLoader(options: {
  readonly modelDir: string;
  readonly threads: number;
  readonly queueMax: number;
}): ModelLoader {
  return async ({ name, uri, sha256 }) => {
    const path = pathOf(options.modelDir, uri);
    const bytes = await readFile(path).catch((cause) => {
      throw new MeshError(
        'MODEL_LOAD_FAILED',
        `model "${name}": no file "${uri}" in the model repository "${options.modelDir}"`,
        { model: name, uri },
        { cause },
      );
    });
    const digest = createHash('sha256').update(bytes).digest('hex');
    if (digest !== sha256) {
      throw new MeshError(
        'MODEL_LOAD_FAILED',
        `model "${name}": file "${uri}" has SHA-256 ${digest}, not ${sha256} as registered; apply the definition again or restore the file`,
        { model: name, uri, expected: sha256, found: digest },
      );
    }
    return openWorker(name, { bytes, threads: options.threads }, options.queueMax);
  };
}

function pathOf(modelDir: string, uri: string): string {
  if (uri.startsWith('file:')) return fileURLToPath(uri);
  const relative = normalize(uri);
  if (isAbsolute(relative) || relative.startsWith('..'))
    throw new MeshError('INVALID_ARGUMENT', `"${uri}" leads out of the model repository`, { uri });
  return join(modelDir, relative);
}

interface Waiting {
  readonly resolve: (outputs: ReadonlyMap<string, Tensor>) => void;
  readonly reject: (error: unknown) => void;
}

async function openWorker(name: string, start: WorkerStart, queueMax: number): Promise<LoadedModel> {
  const worker = new Worker(new URL('./onnx-worker.ts', import.meta.url), { workerData: start });
  const waiting = new Map<number, Waiting>();
  let nextId = 0;
  let ended: MeshError | undefined;
  let idle: (() => void) | undefined;
  const end = (message: string, cause?: unknown) => {
    ended ??= new MeshError('MODEL_RUN_FAILED', `model "${name}" ${message}`, { model: name }, { cause });
    for (const { reject } of waiting.values()) reject(ended);
    waiting.clear();
    idle?.();
  };
  const ready = await new Promise<Extract<WorkerAnswer, { t: 'ready' }>>((resolve, reject) => {
    const failed = (message: string) =>
      reject(new MeshError('MODEL_LOAD_FAILED', `model "${name}" could not be loaded: ${message}`, { model: name }));
    worker.on('error', (error) => {
      failed(error.message);
      end(`stopped: ${error.message}`, error);
    });
    worker.on('exit', () => {
      failed('its worker ended');
      end('was unloaded; ask again');
    });
    worker.on('message', (answer: WorkerAnswer) => {
      if (answer.t === 'ready') return resolve(answer);
      if (answer.t === 'failed') return failed(answer.message);
      const waiter = waiting.get(answer.id);
      waiting.delete(answer.id);
      if (waiting.size === 0) idle?.();
      if (answer.t === 'error')
        waiter?.reject(new MeshError('MODEL_RUN_FAILED', `model "${name}" failed: ${answer.message}`, { model: name }));
      else
        waiter?.resolve(
          new Map(
            answer.outputs.map((output) => [
              output.name,
              { datatype: datatypes[output.type] ?? 'BYTES', shape: output.shape, data: output.data as TensorData },
            ]),
          ),
        );
    });
  }).catch(async (error) => {
    await worker.terminate();
    throw error;
  });
  return {
    inputs: ready.inputs.map(toSpec),
    outputs: ready.outputs.map(toSpec),
    facts: ready.facts,
    run(inputs, fetches) {
      if (ended) return Promise.reject(ended);
      if (waiting.size >= queueMax) {
        return Promise.reject(
          new MeshError(
            'OVERLOADED',
            `model "${name}" has ${waiting.size} requests waiting, its limit; retry later`,
            { model: name, limit: queueMax },
            { retryAfterMs: 100 },
          ),
        );
      }
      return new Promise((resolve, reject) => {
        const id = nextId++;
        waiting.set(id, { resolve, reject });
        const feeds = [...inputs].map(([input, { datatype, shape, data }]) => ({
          name: input,
          type: ortTypes[datatype],
          shape,
          data,
        }));
        worker.postMessage({ id, feeds, fetches } satisfies WorkerRequest);
      });
    },
    close: async () => {
      if (waiting.size > 0) await Promise.race([new Promise<void>((resolve) => (idle = resolve)), sleep(drainMs)]);
      await worker.terminate();
    },
  };
}

function toSpec({ name, type, shape }: WireSpec): TensorSpec {
  return { name, datatype: datatypes[type] ?? 'BYTES', shape };
}
