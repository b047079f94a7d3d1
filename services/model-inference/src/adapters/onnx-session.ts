import { normaliseOnnx } from '@millrace/onnx';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { WireSpec, WireTensor } from './onnx-messages.ts';
import type { Session } from './session.ts';

/** An ONNX file, normalised, in onnxruntime; its calls block. */
export async function openOnnx(bytes: Uint8Array, threads: number): Promise<Session> {
  const { bytes: normalised, facts } = normaliseOnnx(bytes);
  const session = await InferenceSession.create(normalised, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  return {
    shape: { facts, inputs: specs(session.inputMetadata), outputs: specs(session.outputMetadata) },
    async run(feeds, fetches) {
      const tensors = Object.fromEntries(
        feeds.map(({ name, type, shape, data }) => [
          name,
          new Tensor(type as 'float32', data as Float32Array, [...shape]),
        ]),
      );
      const results = await session.run(tensors, [...fetches]);
      return fetches.flatMap((name): WireTensor[] => {
        const tensor = results[name];
        return tensor ? [{ name, type: tensor.type, shape: [...tensor.dims], data: tensor.data }] : [];
      });
    },
    release: () => session.release(),
  };
}

function specs(metadata: InferenceSession['inputMetadata']): WireSpec[] {
  return metadata.map((value) => {
    if (!value.isTensor) throw new Error(`"${value.name}" is not a tensor; only ZipMap outputs can be turned into one`);
    return {
      name: value.name,
      type: value.type,
      shape: value.shape.map((size) => (typeof size === 'number' && size >= 0 ? size : -1)),
    };
  });
}
