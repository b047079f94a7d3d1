import { MeshError } from '@millrace/kernel';
import { intsValue, intValue, makeNode, type NamedContent, type OnnxNode, readModel } from '../model.ts';
import { dataType } from '../schema.ts';
import { floatsOf, int64Tensor, rawTensor, readTensor } from '../tensor.ts';
import { writeModel } from '../write-model.ts';
import { gemmToMatMul } from './gemm.ts';
import { int8Opset } from './int8-opset.ts';
import { sorted, withoutUnused } from './tidy.ts';
import { isFloatWeight, quantizeWeight } from './weights.ts';

export interface RowWiseOptions {
  /** Names of nodes that stay as they are. */
  readonly exclude?: readonly string[];
  /** Smaller weights stay as they are: quantizing their activations costs more than it saves. */
  readonly weightValuesMin?: number;
  /** Weights of seven bits, for processors without VNNI, whose sums would saturate. */
  readonly reduceRange?: boolean;
}

/** What became of a MatMul or Gemm with a weight. */
export interface LayerDecision {
  readonly node: string;
  readonly weightValues: number;
  readonly decision: 'quantized' | 'excluded' | 'small' | 'not two-dimensional';
}

export interface RowWise {
  readonly bytes: Uint8Array;
  readonly layers: readonly LayerDecision[];
}

const weightValuesMinDefault = 32_768;
/** The smallest scale: of a row of zeros. */
const scaleMin = 2 ** -100;
/** Operators whose outputs are never below zero: their activations take all eight bits. */
const nonNegative: readonly string[] = ['Relu', 'Sigmoid', 'Softmax', 'HardSigmoid', 'Softplus', 'Abs'];

/**
 * Dynamic INT8 whose answers do not depend on the batch: each row of an activation has a scale of its own (its largest magnitude by 127,
 * or by 255 where it cannot be negative), each column of a weight too. Standard operators alone: products of integers are exact, and
 * all else is done value by value. MatMul and Gemm with a two-dimensional weight; the rest stays as it is.
 */
export function quantizeRowWise(bytes: Uint8Array, options: RowWiseOptions = {}): RowWise {
  const model = readModel(bytes);
  const opset = int8Opset(model);
  const { exclude = [], weightValuesMin = weightValuesMinDefault, reduceRange = false } = options;
  checkNames(exclude, model.graph.nodes);
  const { graph, gemmOf } = gemmToMatMul(model.graph);
  const weights = new Map(graph.initializers.map((weight) => [weight.name, weight]));
  const makers = new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
  const initializers = new Map(graph.initializers.map((weight) => [weight.name, weight]));
  const rows = new Map<string, Row>();
  const layers: LayerDecision[] = [];
  const add = (weight: NamedContent) => initializers.set(weight.name, weight);
  const nodes = graph.nodes.flatMap((node) => {
    const weight = weights.get(node.inputs[1] ?? '');
    if (node.opType !== 'MatMul' || node.domain !== '' || !isFloatWeight(weight)) return [node];
    const title = gemmOf.get(node.name) || node.name || (node.outputs[0] ?? '');
    const { dims } = readTensor(weight.content);
    const weightValues = dims.reduce((product, dim) => product * dim, 1);
    const isExcluded = exclude.includes(title) || exclude.includes(node.name);
    const decision =
      dims.length !== 2
        ? 'not two-dimensional'
        : isExcluded
          ? 'excluded'
          : weightValues < weightValuesMin
            ? 'small'
            : 'quantized';
    layers.push({ node: title, weightValues, decision });
    if (decision !== 'quantized') return [node];
    const [x = ''] = node.inputs;
    const known = rows.get(x);
    const row = known ?? quantizeRows(x, nonNegative.includes(makers.get(x)?.opType ?? ''), opset, add);
    rows.set(x, row);
    return [...(known ? [] : row.nodes), ...product(node, row, weight, reduceRange, add)];
  });
  const done = { ...graph, nodes, initializers: [...initializers.values()] };
  return {
    bytes: writeModel(model, {
      metadata: [
        ...model.metadata.filter(({ key }) => key !== 'millrace.quantization'),
        { key: 'millrace.quantization', value: reduceRange ? 'rowwise int8 of seven bits' : 'rowwise int8' },
      ],
      graph: sorted(withoutUnused(done)),
    }),
    layers,
  };
}

function checkNames(exclude: readonly string[], nodes: readonly OnnxNode[]): void {
  const names = new Set(nodes.flatMap(({ name, outputs }) => [name, `${name}_MatMul`, outputs[0] ?? '']));
  for (const name of exclude)
    if (!names.has(name))
      throw new MeshError('INVALID_ARGUMENT', `the model has no node "${name}" to exclude`, { node: name });
}

/** The tensors that a row-wise quantized activation is. */
interface Row {
  readonly q: string;
  readonly scale: string;
  readonly zeroPoint: string;
  readonly nodes: readonly OnnxNode[];
}

function quantizeRows(x: string, isNonNegative: boolean, opset: number, add: (weight: NamedContent) => void): Row {
  const of = (part: string) => `${x}_row_${part}`;
  const full = isNonNegative ? 255 : 127;
  const zeroPoint = isNonNegative ? 0 : 128;
  const constants = {
    min: 'millrace_row_scale_min',
    full: `millrace_row_${full}`,
    one: 'millrace_row_one',
    zeroPoint: `millrace_row_zero_point_${zeroPoint}`,
    axes: 'millrace_row_axes',
  };
  add(scalar(constants.min, scaleMin));
  add(scalar(constants.full, full));
  add(scalar(constants.one, 1));
  add(rawTensor(constants.zeroPoint, dataType.uint8, [], Uint8Array.of(zeroPoint)));
  const takesAxes = opset >= 18;
  if (takesAxes) add(int64Tensor(constants.axes, [1], [-1]));
  const node = (opType: string, inputs: readonly string[], output: string, attributes: readonly Uint8Array[] = []) =>
    makeNode({ opType, inputs, outputs: [output], name: output, attributes });
  const magnitude = isNonNegative ? x : of('abs');
  return {
    q: of('quantized'),
    scale: of('scale'),
    zeroPoint: constants.zeroPoint,
    nodes: [
      ...(isNonNegative ? [] : [node('Abs', [x], magnitude)]),
      node('ReduceMax', takesAxes ? [magnitude, constants.axes] : [magnitude], of('max'), [
        ...(takesAxes ? [] : [intsValue('axes', [-1])]),
        intValue('keepdims', 1),
      ]),
      node('Max', [of('max'), constants.min], of('top')),
      node('Div', [of('top'), constants.full], of('scale')),
      node('Div', [x, of('scale')], of('scaled')),
      node('QuantizeLinear', [of('scaled'), constants.one, constants.zeroPoint], of('quantized')),
    ],
  };
}

function product(
  node: OnnxNode,
  row: Row,
  weight: NamedContent,
  isReduced: boolean,
  add: (weight: NamedContent) => void,
): OnnxNode[] {
  const { q, scale, initializers } = quantizeWeight(weight, { type: 'int8', isPerChannel: true, isReduced });
  for (const initializer of initializers.filter(({ name }) => name !== `${weight.name}_zero_point`))
    add(rawOf(initializer));
  const [y = ''] = node.outputs;
  const of = (part: string) => `${y}_row_${part}`;
  const made = (opType: string, inputs: readonly string[], output: string, attributes: readonly Uint8Array[] = []) =>
    makeNode({ opType, inputs, outputs: [output], name: output, attributes });
  return [
    made('MatMulInteger', [row.q, q, row.zeroPoint], of('product')),
    made('Cast', [of('product')], of('float'), [intValue('to', dataType.float)]),
    made('Mul', [of('float'), row.scale], of('by_row')),
    made('Mul', [of('by_row'), scale], y),
  ];
}

/** Scales as raw bytes, as weights usually are. */
function rawOf(initializer: NamedContent): NamedContent {
  const tensor = readTensor(initializer.content);
  return tensor.dataType === dataType.float
    ? rawTensor(tensor.name, dataType.float, tensor.dims, Float32Array.from(floatsOf(tensor)))
    : initializer;
}

function scalar(name: string, value: number): NamedContent {
  return rawTensor(name, dataType.float, [], Float32Array.of(value));
}
