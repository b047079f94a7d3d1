import { MeshError } from '@millrace/kernel';
import type { NamedContent } from '../model.ts';
import { dataType } from '../schema.ts';
import { floatsOf, floatTensor, int32Tensor, type OnnxTensor, rawTensor, readTensor } from '../tensor.ts';
import {
  emptyLike,
  type QuantParams,
  quantizeInto,
  quantParams,
  rangeOf,
  type WeightType,
  weightDataType,
} from './int8.ts';

/** The names of a quantized tensor's parts. */
export interface Quantized {
  readonly q: string;
  readonly scale: string;
  readonly zeroPoint: string;
  /** Of the channels, where each has a scale. */
  readonly axis?: number;
}

/** A weight as three initializers, under the names and in the order of onnxruntime. */
export interface QuantizedWeight extends Quantized {
  readonly initializers: readonly NamedContent[];
}

/** One scale for the whole weight, or one for each column (the last axis). */
export function quantizeWeight(
  weight: NamedContent,
  options: { readonly type: WeightType; readonly isPerChannel: boolean; readonly isReduced: boolean },
): QuantizedWeight {
  const tensor = readTensor(weight.content);
  const values = finite(tensor);
  const { type, isPerChannel, isReduced } = options;
  const channels = isPerChannel ? (tensor.dims.at(-1) ?? 1) : 1;
  const bytes = emptyLike(values, type);
  const params: QuantParams[] = [];
  for (let channel = 0; channel < channels; channel++) {
    const { min, max } = rangeOf(values, channel, channels);
    const found = quantParams(min, max, type, isReduced);
    params.push(found);
    quantizeInto(bytes, values, found, channel, channels);
  }
  const names = {
    q: `${weight.name}_quantized`,
    scale: `${weight.name}_scale`,
    zeroPoint: `${weight.name}_zero_point`,
  };
  const dims = isPerChannel ? [channels] : [];
  const scales = Float32Array.from(params, ({ scale }) => scale);
  const zeroPoints = params.map(({ zeroPoint }) => zeroPoint);
  return {
    ...names,
    ...(isPerChannel ? { axis: -1 } : {}),
    initializers: [
      floatTensor(names.scale, dims, scales),
      int32Tensor(names.zeroPoint, weightDataType[type], dims, zeroPoints),
      rawTensor(names.q, weightDataType[type], tensor.dims, bytes),
    ],
  };
}

export function isFloatWeight(weight: NamedContent | undefined): weight is NamedContent {
  if (!weight) return false;
  const { dataType: type, name } = readTensor(weight.content);
  if (type === dataType.float16)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `weight "${name}" is float16; quantize the float32 model that it was made of, or exclude its node`,
      { weight: name },
    );
  return type === dataType.float;
}

/** The values of a weight; INVALID_ARGUMENT when some are infinite or no numbers. */
export function finite(tensor: OnnxTensor): Float32Array {
  const values = floatsOf(tensor);
  for (const value of values)
    if (!Number.isFinite(value))
      throw new MeshError('INVALID_ARGUMENT', `weight "${tensor.name}" has values that are infinite or no numbers`, {
        weight: tensor.name,
      });
  return values;
}
