import { modelConfig } from '@millrace/contracts';
import type { Datatype, TensorSpec } from './tensor.ts';

const { DataType } = modelConfig;

const dataTypes: Readonly<Record<Datatype, modelConfig.DataType>> = {
  BOOL: DataType.TYPE_BOOL,
  UINT8: DataType.TYPE_UINT8,
  UINT16: DataType.TYPE_UINT16,
  UINT32: DataType.TYPE_UINT32,
  UINT64: DataType.TYPE_UINT64,
  INT8: DataType.TYPE_INT8,
  INT16: DataType.TYPE_INT16,
  INT32: DataType.TYPE_INT32,
  INT64: DataType.TYPE_INT64,
  FP16: DataType.TYPE_FP16,
  FP32: DataType.TYPE_FP32,
  FP64: DataType.TYPE_FP64,
  BYTES: DataType.TYPE_STRING,
};

/** What Triton calls a tensor's type. */
export function dataTypeOf(datatype: Datatype): modelConfig.DataType {
  return dataTypes[datatype];
}

/** What runs a model, in Triton's words. */
export interface ModelKind {
  readonly platform: string;
  readonly backend: string;
  readonly file: string;
}

/** Of a registered format. */
export function kindOf(format: string): ModelKind {
  switch (format) {
    case 'xgboost':
      return { platform: 'xgboost', backend: 'trees', file: 'model.json' };
    case 'lightgbm':
      return { platform: 'lightgbm', backend: 'trees', file: 'model.txt' };
    case 'custom':
      return { platform: 'custom', backend: 'nodejs', file: 'model.ts' };
    case 'remote':
      return { platform: 'remote', backend: 'remote', file: '' };
    default:
      return { platform: 'onnxruntime_onnx', backend: 'onnxruntime', file: 'model.onnx' };
  }
}

/**
 * The configuration of a model as it is served, in Triton's words: tensors come from the model's file. `max_batch_size` is 0, and dims are
 * whole shapes, unless a configuration says otherwise.
 */
export function servedConfig(
  name: string,
  loaded: { readonly inputs: readonly TensorSpec[]; readonly outputs: readonly TensorSpec[] },
  kind: ModelKind,
  given: modelConfig.ModelConfig = modelConfig.ModelConfig.fromPartial({}),
): modelConfig.ModelConfig {
  const dims = (shape: readonly number[]) => (given.maxBatchSize > 0 ? shape.slice(1) : shape).map(BigInt);
  return {
    ...given,
    name,
    platform: kind.platform,
    backend: kind.backend,
    versionPolicy: given.versionPolicy ?? { policyChoice: { $case: 'latest', value: { numVersions: 1 } } },
    defaultModelFilename: given.defaultModelFilename || kind.file,
    input: loaded.inputs.map(({ name: input, datatype, shape }) => ({
      name: input,
      dataType: dataTypeOf(datatype),
      dims: dims(shape),
      optional: false,
    })),
    output: loaded.outputs.map(({ name: output, datatype, shape }) => ({
      name: output,
      dataType: dataTypeOf(datatype),
      dims: dims(shape),
    })),
  };
}
