/** Runs one ONNX session off the service's event loop: onnxruntime-node's create and run are synchronous. */
import { parentPort, workerData } from 'node:worker_threads';
import { normaliseOnnx } from '@millrace/onnx';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { WorkerAnswer, WorkerRequest, WorkerStart } from './onnx-messages.ts';

const port = parentPort;
if (!port) throw new Error('onnx-worker runs as a worker');
const { bytes, threads } = workerData as WorkerStart;

const say = (answer: WorkerAnswer) => port.postMessage(answer);

try {
  const { bytes: normalised, facts } = normaliseOnnx(bytes);
  const session = await InferenceSession.create(normalised, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  say({ t: 'ready', inputs: specs(session.inputMetadata), outputs: specs(session.outputMetadata), facts });
  port.on('message', (request: WorkerRequest) => void run(session, request));
} catch (error) {
  say({ t: 'failed', message: error instanceof Error ? error.message : String(error) });
}

function specs(metadata: InferenceSession['inputMetadata']) {
  return metadata.map((value) => {
    if (!value.isTensor) throw new Error(`"${value.name}" is not a tensor; only ZipMap outputs can be turned into one`);
    return {
      name: value.name,
      type: value.type,
      shape: value.shape.map((size) => (typeof size === 'number' && size >= 0 ? size : -1)),
    };
  });
}

async function run(session: InferenceSession, { id, feeds, fetches }: WorkerRequest): Promise<void> {
  try {
    const tensors = Object.fromEntries(
      feeds.map(({ name, type, shape, data }) => [
        name,
        new Tensor(type as 'float32', data as Float32Array, [...shape]),
      ]),
    );
    const results = await session.run(tensors, [...fetches]);
    say({
      t: 'result',
      id,
      outputs: fetches.flatMap((name) => {
        const tensor = results[name];
        return tensor ? [{ name, type: tensor.type, shape: [...tensor.dims], data: tensor.data as Float32Array }] : [];
      }),
    });
  } catch (error) {
    say({ t: 'error', id, message: error instanceof Error ? error.message : String(error) });
  }
}
