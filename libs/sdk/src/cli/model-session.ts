import { MeshError } from '@millrace/kernel';
import { normaliseOnnx } from '@millrace/onnx';
import type * as Ort from 'onnxruntime-node';
import type { InputRows, InputSpec, Samples } from './model-samples.ts';

type Values = ArrayLike<number> | readonly string[];

export interface ModelSession {
  readonly inputs: readonly InputSpec[];
  /** Answers rows `from` to `to` in one run, by output. */
  run(samples: Samples, from: number, to: number): Promise<ReadonlyMap<string, RunOutput>>;
  close(): Promise<void>;
}

export interface RunOutput {
  readonly values: Values;
  readonly isLabel: boolean;
}

const floats: readonly string[] = ['float32', 'float64', 'float16'];

/** Opens a model as the model server would: normalised, one thread. Other commands do not load onnxruntime. */
export async function openModel(bytes: Uint8Array, title: string): Promise<ModelSession> {
  const { InferenceSession, Tensor } = await import('onnxruntime-node');
  const session = await InferenceSession.create(normaliseOnnx(bytes).bytes, {
    executionProviders: ['cpu'],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  }).catch((cause) => {
    throw new MeshError(
      'MODEL_LOAD_FAILED',
      `${title} cannot be loaded: ${cause.message}`,
      { model: title },
      { cause },
    );
  });
  return {
    inputs: session.inputMetadata.map(specOf),
    async run(samples, from, to) {
      const feeds = Object.fromEntries(
        samples.inputs.map((input) => [input.spec.name, tensorOf(Tensor, input, from, to)]),
      );
      const results = await session.run(feeds).catch((cause) => {
        throw new MeshError(
          'MODEL_RUN_FAILED',
          `${title} fails on the samples: ${cause.message}`,
          { model: title },
          { cause },
        );
      });
      return new Map(
        Object.entries(results).map(([name, { type, data }]) => [
          name,
          { values: valuesOf(type, data), isLabel: !floats.includes(type) },
        ]),
      );
    },
    close: () => session.release(),
  };
}

function specOf(value: Ort.InferenceSession.ValueMetadata): InputSpec {
  if (!value.isTensor)
    throw new MeshError('MODEL_LOAD_FAILED', `input "${value.name}" is not a tensor`, { input: value.name });
  return {
    name: value.name,
    type: value.type,
    rowShape: value.shape.slice(1).map((size) => (typeof size === 'number' && size >= 0 ? size : -1)),
  };
}

/** Integers as numbers: labels are compared, not computed with. */
function valuesOf(type: string, data: Ort.Tensor['data']): Values {
  if (type === 'float16') return new Float32Array(new Float16Array((data as Uint16Array).slice().buffer));
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Array.from(data, String);
  return data as ArrayLike<number> | readonly string[];
}

function tensorOf(TensorOf: typeof Ort.Tensor, input: InputRows, from: number, to: number): Ort.Tensor {
  const { spec, rowShape, values } = input;
  const width = rowShape.reduce((product, size) => product * size, 1);
  const some = values.slice(from * width, to * width);
  const dims = [to - from, ...rowShape];
  const numbers = () => some.map(Number);
  switch (spec.type) {
    case 'float32':
      return new TensorOf('float32', Float32Array.from(numbers()), dims);
    case 'float64':
      return new TensorOf('float64', Float64Array.from(numbers()), dims);
    case 'int64':
      return new TensorOf('int64', BigInt64Array.from(numbers().map(BigInt)), dims);
    case 'int32':
      return new TensorOf('int32', Int32Array.from(numbers()), dims);
    case 'bool':
      return new TensorOf('bool', Uint8Array.from(some.map((value) => (value ? 1 : 0))), dims);
    case 'string':
      return new TensorOf('string', some.map(String), dims);
    default:
      throw new MeshError('INVALID_ARGUMENT', `samples for input "${spec.name}" of ${spec.type} cannot be given`, {
        input: spec.name,
      });
  }
}
