import { intValue, makeNode, type NamedContent, type OnnxNode, readModel } from '../model.ts';
import { dataType } from '../schema.ts';
import { elementCount, floatsOf, rawTensor, readTensor } from '../tensor.ts';
import { writeModel } from '../write-model.ts';

/** Smaller weights are not worth a node. */
const valuesMin = 256;
const float16Max = 65_504;

export interface Float16Storage {
  readonly bytes: Uint8Array;
  /** The weights that are stored so. */
  readonly weights: readonly string[];
}

/** Float32 weights stored as float16, and cast back when the model is loaded: half the file, the speed of before. Values beyond float16's stay. */
export function storeFloat16(bytes: Uint8Array): Float16Storage {
  const model = readModel(bytes);
  const casts: OnnxNode[] = [];
  const weights: string[] = [];
  const given = new Set(model.graph.inputs.map(({ name }) => name));
  const initializers = model.graph.initializers.map((weight) => {
    const halved = given.has(weight.name) ? undefined : halve(weight);
    if (!halved) return weight;
    weights.push(weight.name);
    casts.push(
      makeNode({
        opType: 'Cast',
        inputs: [halved.name],
        outputs: [weight.name],
        name: `${weight.name}_float32`,
        attributes: [intValue('to', dataType.float)],
      }),
    );
    return halved;
  });
  const graph = { ...model.graph, initializers, nodes: [...casts, ...model.graph.nodes] };
  return { bytes: writeModel(model, { graph }), weights };
}

function halve(weight: NamedContent): NamedContent | undefined {
  const tensor = readTensor(weight.content);
  if (tensor.dataType !== dataType.float || elementCount(tensor.dims) < valuesMin) return undefined;
  const values = floatsOf(tensor);
  if (values.some((value) => Math.abs(value) > float16Max)) return undefined;
  return rawTensor(`${weight.name}_float16`, dataType.float16, tensor.dims, Float16Array.from(values));
}
