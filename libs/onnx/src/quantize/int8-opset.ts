import { MeshError } from '@millrace/kernel';
import type { OnnxModel } from '../model.ts';

/** What onnxruntime asks for, whose fused quantizer of activations begins there. */
const opsetMin = 11;

/** The opset of a model that is to be quantized; INVALID_ARGUMENT where it is too old for INT8. */
export function int8Opset(model: Pick<OnnxModel, 'opsets'>): number {
  const opset = model.opsets.find(({ domain }) => domain === '')?.version ?? 0;
  if (opset < opsetMin)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `the model is of opset ${opset}, and INT8 needs ${opsetMin} or newer; export it again`,
      { opset },
    );
  return opset;
}
