import type { modelConfig } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { fromRaw } from '../domain/raw-tensor.ts';
import { plannedTensors, type ServingPlan } from '../domain/serving-plan.ts';
import { elementsOf, fixedKinds, type Tensor, type TensorSpec } from '../domain/tensor.ts';
import type { LoadedModel, LoadRequest, ModelLoader } from './model-book.ts';

/** Files that a warm-up reads, at most. */
const warmupBytesMax = 64 * 2 ** 20;
const warmupRunsMax = 1_000;

/**
 * Models with a configuration are served as it says: their tensors are checked against it, and warmed up, before anyone is answered.
 * MODEL_LOAD_FAILED with what is wrong; the model is closed then.
 */
export function configuredLoader(load: ModelLoader): ModelLoader {
  return async (request) => {
    const { plan } = request;
    if (!plan) return load(request);
    const loaded = await load(request);
    try {
      const model = { ...loaded, ...plannedTensors(request.name, plan, loaded), plan };
      await warmUp(request, plan, model);
      return model;
    } catch (error) {
      await loaded.close();
      throw error;
    }
  };
}

async function warmUp(request: LoadRequest, { config, rowsMax }: ServingPlan, model: LoadedModel): Promise<void> {
  const outputs = model.outputs.map(({ name }) => name);
  for (const warmup of config.modelWarmup) {
    const rows = Math.max(1, warmup.batchSize);
    if (rows > Math.max(1, rowsMax))
      throw wrong(request, warmup, `has batch_size ${rows}, and max_batch_size is ${rowsMax}`);
    const runs = Math.max(1, warmup.count);
    if (runs > warmupRunsMax) throw wrong(request, warmup, `has count ${runs}; it takes at most ${warmupRunsMax}`);
    const unknown = [...warmup.inputs.keys()].find((name) => !model.inputs.some((spec) => spec.name === name));
    if (unknown !== undefined) throw wrong(request, warmup, `has input "${unknown}", which is none of the model`);
    const inputs = new Map<string, Tensor>();
    for (const spec of model.inputs)
      inputs.set(spec.name, await tensorOf(request, warmup, spec, rowsMax > 0 ? rows : 0));
    for (let run = 0; run < runs; run++) await model.run(inputs, outputs);
  }
}

function wrong({ name }: LoadRequest, warmup: modelConfig.ModelWarmup, message: string): MeshError {
  return new MeshError(
    'INVALID_ARGUMENT',
    `configuration of model "${name}": model_warmup "${warmup.name}" ${message}`,
    {
      model: name,
      field: 'model_warmup',
    },
  );
}

async function tensorOf(
  request: LoadRequest,
  warmup: modelConfig.ModelWarmup,
  { name, datatype, shape }: TensorSpec,
  rows: number,
): Promise<Tensor> {
  const given = warmup.inputs.get(name);
  if (!given) throw wrong(request, warmup, `lacks input "${name}"`);
  const dims = [...(rows > 0 ? [rows] : []), ...given.dims.map(Number)];
  const fits = dims.length === shape.length && shape.every((size, at) => size === -1 || size === dims[at]);
  if (!fits || dims.some((size) => size < 1) || elementsOf(dims) * 8 > warmupBytesMax)
    throw wrong(request, warmup, `has dims [${given.dims}] of input "${name}", and its shape is [${shape}]`);
  const data = given.inputDataType;
  switch (data?.$case) {
    case 'zeroData':
      return madeOf(datatype, dims, () => 0);
    case 'randomData':
      // the same numbers at every load
      return madeOf(datatype, dims, (at) => ((at * 2_654_435_761) % 2 ** 32) % 256);
    case 'inputDataFile': {
      if (!request.warmupFile)
        throw wrong(request, warmup, 'reads a file, and this model has no folder; write zero_data');
      return fromRaw(name, datatype, dims, await request.warmupFile(data.value));
    }
    case undefined:
      throw wrong(
        request,
        warmup,
        `does not say what input "${name}" is; write zero_data, random_data or input_data_file`,
      );
    default:
      return data satisfies never;
  }
}

function madeOf(datatype: TensorSpec['datatype'], shape: readonly number[], byte: (at: number) => number): Tensor {
  const count = elementsOf(shape);
  if (datatype === 'BYTES') return { datatype, shape, data: new Array<string>(count).fill('') };
  const { bytes, view } = fixedKinds[datatype];
  const values = view(new ArrayBuffer(count * bytes), count);
  const isBig = values instanceof BigInt64Array || values instanceof BigUint64Array;
  for (let at = 0; at < count; at++) {
    // indices of tables are within any table
    if (isBig) values[at] = 0n;
    else values[at] = datatype === 'FP32' || datatype === 'FP64' ? byte(at) / 128 - 1 : 0;
  }
  return { datatype, shape, data: values };
}
