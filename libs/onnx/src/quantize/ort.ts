import { MeshError } from '@millrace/kernel';
import {
  attributesOf,
  intValue,
  makeNode,
  type NamedContent,
  type OnnxGraph,
  type OnnxNode,
  readModel,
  rewired,
} from '../model.ts';
import { dataType, tensorField } from '../schema.ts';
import { int64Tensor, readTensor } from '../tensor.ts';
import { fieldsOf, varintField } from '../wire.ts';
import { writeModel } from '../write-model.ts';
import { gemmToMatMul } from './gemm.ts';
import { int8Opset } from './int8-opset.ts';
import { sorted, withoutUnused } from './tidy.ts';
import { isFloatWeight, type Quantized, quantizeWeight } from './weights.ts';

export interface OrtOptions {
  /** A scale for each column of a MatMul's weight, instead of one for the whole. */
  readonly perChannel?: boolean;
  /** Weights of seven bits, for processors without VNNI, whose sums would saturate. */
  readonly reduceRange?: boolean;
  /** Names of nodes that stay as they are; a Gemm's own name means the MatMul that it becomes. */
  readonly exclude?: readonly string[];
}

/** A graph while it is quantized: onnxruntime's names and order are kept, so that the file is the same. */
interface Draft {
  readonly options: Required<OrtOptions>;
  readonly outputs: readonly NamedContent[];
  readonly initializers: NamedContent[];
  readonly nodes: OnnxNode[];
  readonly quantized: Map<string, Quantized>;
  /** Tensors that a node of the draft makes, or callers give. */
  readonly made: Set<string>;
}

/** What `onnx.save_model` keeps apart, in bytes as Python counts them: with the head of an object. */
const externalBytesMin = 1_024;
const pythonBytesHead = 33;
/** Operators that quantize_dynamic would quantize and this does not. */
const others: readonly string[] = ['Attention', 'LSTM', 'EmbedLayerNormalization'];

/**
 * Dynamic INT8 as `onnxruntime.quantization.quantize_dynamic` (1.32.0) writes it, byte for byte when the file's shapes have been inferred
 * (`onnx.shape_inference`); else all but the inferred shapes is the same. MatMul, Gemm, Gather, Conv and Transpose; the file is unsafe
 * to batch. INVALID_ARGUMENT for LSTM, Attention and EmbedLayerNormalization that are not excluded, and for opsets before 11.
 */
export function quantizeOrt(bytes: Uint8Array, options: OrtOptions = {}): Uint8Array {
  const model = readModel(bytes);
  int8Opset(model);
  const { graph, gemmOf } = gemmToMatMul(model.graph);
  const weights = new Set(graph.initializers.map(({ name }) => name));
  const draft: Draft = {
    options: { perChannel: false, reduceRange: false, exclude: [], ...options },
    outputs: graph.outputs,
    initializers: graph.initializers.map(reloaded),
    nodes: [],
    quantized: new Map(),
    made: new Set(graph.inputs.map(({ name }) => name).filter((name) => !weights.has(name))),
  };
  const excluded = new Set(draft.options.exclude);
  for (const node of graph.nodes) {
    const from = draft.nodes.length;
    if (excluded.has(node.name) || excluded.has(gemmOf.get(node.name) ?? '')) keep(draft, node);
    else addNode(draft, node);
    for (const { outputs } of draft.nodes.slice(from)) for (const output of outputs) draft.made.add(output);
  }
  for (const { name } of draft.outputs) dequantize(draft, name);
  const done: OnnxGraph = { ...graph, nodes: draft.nodes, initializers: draft.initializers };
  return writeModel(model, {
    producerName: 'onnx.quantize',
    producerVersion: '0.1.0',
    metadata: [
      { key: 'onnx.infer', value: 'onnxruntime.quant' },
      ...model.metadata.filter(({ key }) => key !== 'onnx.infer'),
    ],
    graph: sorted(withoutUnused(done)),
  });
}

/** onnxruntime saves the weights in a file of their own and reads them back, which leaves a mark on those that are not small. */
function reloaded(weight: NamedContent): NamedContent {
  const fields = fieldsOf(weight.content);
  const raw = fields.findLast(({ number }) => number === tensorField.rawData);
  if (!raw || raw.content.length + pythonBytesHead < externalBytesMin) return weight;
  const kept = fields.filter(({ number }) => number !== tensorField.dataLocation);
  const mark = { number: tensorField.dataLocation, raw: varintField(tensorField.dataLocation, 0) };
  const parts = [...kept, mark].toSorted((a, b) => a.number - b.number);
  return { name: weight.name, content: Buffer.concat(parts.map((part) => part.raw)) };
}

function addNode(draft: Draft, node: OnnxNode): void {
  if (others.includes(node.opType))
    throw new MeshError(
      'INVALID_ARGUMENT',
      `node "${node.name}" is of ${node.opType}, which is not quantized here; exclude it, or use the row-wise form, which leaves it as it is`,
      { node: node.name, operator: node.opType },
    );
  const weight = (at: number) => draft.initializers.find(({ name }) => name === node.inputs[at]);
  adderOf(node, weight)(draft, node);
}

function adderOf(
  node: OnnxNode,
  weight: (at: number) => NamedContent | undefined,
): (draft: Draft, node: OnnxNode) => void {
  if (node.domain !== '') return keep;
  if (node.opType === 'MatMul' && isFloatWeight(weight(1))) return addMatMul;
  if (node.opType === 'Conv' && isFloatWeight(weight(1))) return addConv;
  if (node.opType === 'Gather' && isFloatWeight(weight(0))) return addGather;
  return node.opType === 'Transpose' ? addTranspose : keep;
}

/** A node that works on floats: quantized inputs are turned back first. */
function keep(draft: Draft, node: OnnxNode): void {
  for (const input of node.inputs) dequantize(draft, input);
  draft.nodes.push(node);
}

function dequantize(draft: Draft, name: string): void {
  const value = draft.quantized.get(name);
  if (!value || draft.made.has(name)) return;
  const title = `${name}_DequantizeLinear`;
  if (draft.nodes.some((node) => node.name === title)) return;
  draft.nodes.push(
    makeNode({
      opType: 'DequantizeLinear',
      inputs: [value.q, value.scale, value.zeroPoint],
      outputs: [name],
      name: title,
      attributes: value.axis === undefined ? [] : [intValue('axis', value.axis)],
    }),
  );
}

function addMatMul(draft: Draft, node: OnnxNode): void {
  const { perChannel, reduceRange } = draft.options;
  const nodes: OnnxNode[] = [];
  const a = activation(draft, node.inputs[0] ?? '', nodes);
  const b = weightOf(draft, node.inputs[1] ?? '', 'int8', perChannel, reduceRange);
  addProduct(draft, node, { opType: 'MatMulInteger', a, b, nodes, to: node.outputs[0] ?? '' });
  draft.nodes.push(...nodes);
}

function addConv(draft: Draft, node: OnnxNode): void {
  const [y = ''] = node.outputs;
  const nodes: OnnxNode[] = [];
  const a = activation(draft, node.inputs[0] ?? '', nodes);
  const kernel = node.inputs[1] ?? '';
  const rank = readTensor(draft.initializers.find(({ name }) => name === kernel)?.content ?? new Uint8Array(0)).dims
    .length;
  const b = weightOf(draft, kernel, 'int8', false, draft.options.reduceRange);
  const bias = node.inputs.length === 3 ? node.inputs[2] : undefined;
  addProduct(draft, node, {
    opType: 'ConvInteger',
    a,
    b,
    nodes,
    to: bias === undefined ? y : `${y}quant_scaled_output`,
    attributes: attributesOf(node)
      .toSorted((one, other) => (one.name < other.name ? -1 : 1))
      .map(({ content }) => content),
  });
  if (bias !== undefined) {
    const shape = `${y}_bias_reshape_shape`;
    draft.initializers.push(
      int64Tensor(
        shape,
        [rank],
        Array.from({ length: rank }, (_, axis) => (axis === 1 ? -1 : 1)),
      ),
    );
    nodes.push(makeNode({ opType: 'Reshape', inputs: [bias, shape], outputs: [`${y}_bias_reshape_output`] }));
    nodes.push(
      makeNode({
        opType: 'Add',
        inputs: [`${y}quant_scaled_output`, `${y}_bias_reshape_output`],
        outputs: [y],
        name: `${y}_bias_add`,
      }),
    );
  }
  draft.nodes.push(...nodes);
}

/** The integer product, as floats, times both scales. */
function addProduct(
  draft: Draft,
  node: OnnxNode,
  of: {
    readonly opType: string;
    readonly a: Quantized;
    readonly b: Quantized;
    readonly nodes: OnnxNode[];
    readonly to: string;
    readonly attributes?: readonly Uint8Array[];
  },
): void {
  const { a, b, nodes } = of;
  const product = `${node.outputs[0]}_output_quantized`;
  const name = node.name === '' ? '' : `${node.name}_quant`;
  nodes.push(
    makeNode({
      opType: of.opType,
      inputs: [a.q, b.q, a.zeroPoint, b.zeroPoint],
      outputs: [product],
      name,
      attributes: of.attributes ?? [],
    }),
    makeNode({
      opType: 'Cast',
      inputs: [product],
      outputs: [`${product}_cast_output`],
      name: `${product}_cast`,
      attributes: [intValue('to', dataType.float)],
    }),
  );
  const scales = name === '' ? `${a.scale}_${b.scale}_mul` : `${name}_scales_mul`;
  if (!draft.nodes.some((other) => other.name === scales))
    nodes.push(makeNode({ opType: 'Mul', inputs: [a.scale, b.scale], outputs: [`${scales}:0`], name: scales }));
  nodes.push(
    makeNode({
      opType: 'Mul',
      inputs: [`${product}_cast_output`, `${scales}:0`],
      outputs: [of.to],
      name: name === '' ? '' : `${name}_output_scale_mul`,
    }),
  );
}

function addGather(draft: Draft, node: OnnxNode): void {
  const { scale, zeroPoint, q } = weightOf(draft, node.inputs[0] ?? '', 'uint8', false, false);
  const [y = ''] = node.outputs;
  draft.quantized.set(y, { q: `${y}_quantized`, scale, zeroPoint });
  draft.nodes.push(rewired(node, { inputs: [q, ...node.inputs.slice(1)], outputs: [`${y}_quantized`] }));
}

function addTranspose(draft: Draft, node: OnnxNode): void {
  const given = draft.quantized.get(node.inputs[0] ?? '');
  if (!given) {
    draft.nodes.push(node);
    return;
  }
  const [y = ''] = node.outputs;
  draft.quantized.set(y, { q: `${y}_quantized`, scale: given.scale, zeroPoint: given.zeroPoint });
  draft.nodes.push(rewired(node, { inputs: [given.q], outputs: [`${y}_quantized`] }));
}

/** A tensor that is computed: one scale of all that it holds when it is run. A weight that is one is quantized as an activation is. */
function activation(draft: Draft, name: string, nodes: OnnxNode[]): Quantized {
  const known = draft.quantized.get(name);
  if (known) return known;
  if (draft.initializers.some((weight) => weight.name === name)) return weightOf(draft, name, 'uint8', false, false);
  const value = { q: `${name}_quantized`, scale: `${name}_scale`, zeroPoint: `${name}_zero_point` };
  nodes.push(
    makeNode({
      opType: 'DynamicQuantizeLinear',
      inputs: [name],
      outputs: [value.q, value.scale, value.zeroPoint],
      name: `${name}_QuantizeLinear`,
    }),
  );
  draft.quantized.set(name, value);
  return value;
}

function weightOf(
  draft: Draft,
  name: string,
  type: 'int8' | 'uint8',
  isPerChannel: boolean,
  isReduced: boolean,
): Quantized {
  const known = draft.quantized.get(name);
  if (known) return known;
  const weight = draft.initializers.find((one) => one.name === name);
  if (!weight) throw new MeshError('INTERNAL', `weight "${name}" is not in the graph`, { weight: name });
  const { initializers, ...names } = quantizeWeight(weight, { type, isPerChannel, isReduced });
  draft.initializers.push(...initializers);
  draft.quantized.set(name, names);
  return names;
}
