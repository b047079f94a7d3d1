import {
  allNodes,
  attributeOf,
  intAttribute,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  readNode,
} from './model.ts';
import { attributeField, microsoftDomain, modelField } from './schema.ts';
import { int64sOf, readTensor } from './tensor.ts';
import { callerInputs, valueType } from './values.ts';
import { fieldsOf, packedVarints } from './wire.ts';

/** Whether requests may share a run of the model: `reason` says why they may not, for people. */
export type Batching = { readonly t: 'safe' } | { readonly t: 'unsafe'; readonly reason: string };

/** Operators that take one scale of all the rows that they are given. */
const perTensor: readonly { readonly domain: string; readonly opType: string }[] = [
  { domain: '', opType: 'DynamicQuantizeLinear' },
  { domain: microsoftDomain, opType: 'DynamicQuantizeMatMul' },
  { domain: microsoftDomain, opType: 'DynamicQuantizeLSTM' },
];

/** Where an operator takes the scale of its activations: by inputs. */
const scaleInputs: Readonly<Record<string, readonly number[]>> = {
  QuantizeLinear: [1],
  QAttention: [3],
  QLinearMatMul: [1],
  QLinearConv: [1],
  MatMulIntegerToFloat: [2],
  QGemm: [1],
};

const fieldOfFunctionNode = 7;

/**
 * A row's answer must not depend on the rows beside it. It does where activations are quantized by one scale for the whole tensor, which
 * is what `onnxruntime.quantization.quantize_dynamic` writes; and rows cannot be put together where a first dimension is fixed.
 */
export function batchingOf(model: OnnxModel): Batching {
  const reason = quantizedByTensor(model) ?? withoutRows(model.graph);
  return reason === undefined ? { t: 'safe' } : { t: 'unsafe', reason };
}

function quantizedByTensor(model: OnnxModel): string | undefined {
  const functions = model.fields
    .filter(({ number }) => number === modelField.functions)
    .flatMap(({ content }) => fieldsOf(content).filter(({ number }) => number === fieldOfFunctionNode))
    .map(({ content }) => readNode(content));
  const nodes = [...allNodes(model.graph), ...functions];
  const makers = new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
  for (const node of nodes) {
    if (perTensor.some(({ domain, opType }) => domain === node.domain && opType === node.opType))
      return `${node.opType} ${title(node)} quantizes all rows of a batch by one scale, so that rows change each other's answers; quantize it row-wise (millrace model quantize --form rowwise)`;
    for (const input of scaleInputs[node.opType] ?? []) {
      const reduction = reductionOf(node.inputs[input] ?? '', makers, model.graph);
      if (reduction)
        return `${node.opType} ${title(node)} takes its scale from ${reduction.opType} ${title(reduction)} over all rows of a batch, so that rows change each other's answers; quantize it row-wise (millrace model quantize --form rowwise)`;
    }
  }
  return undefined;
}

/** The reduction over rows that a tensor is made of, if one is among what it is made of. */
function reductionOf(tensor: string, makers: ReadonlyMap<string, OnnxNode>, graph: OnnxGraph): OnnxNode | undefined {
  const seen = new Set<OnnxNode>();
  const open = [tensor];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const maker = makers.get(name);
    if (!maker || seen.has(maker)) continue;
    seen.add(maker);
    if (maker.opType.startsWith('Reduce')) {
      if (reducesRows(maker, makers, graph)) return maker;
      continue;
    }
    open.push(...maker.inputs);
  }
  return undefined;
}

/** Without axes a reduction is over all of them; axes that are computed may be any. */
function reducesRows(node: OnnxNode, makers: ReadonlyMap<string, OnnxNode>, graph: OnnxGraph): boolean {
  const attribute = attributeOf(node, 'axes');
  const given = node.inputs[1] ?? '';
  if (!attribute && given === '') return intAttribute(node, 'noop_with_empty_axes', 0) === 0;
  const axes = attribute
    ? attribute.fields
        .filter(({ number }) => number === attributeField.ints)
        .flatMap(({ type, value, content }) => (type === 0 ? [value] : packedVarints(content)))
    : constantInts(given, makers, graph);
  return axes === undefined || axes.length === 0 || axes.includes(0);
}

function constantInts(name: string, makers: ReadonlyMap<string, OnnxNode>, graph: OnnxGraph): number[] | undefined {
  const weight = graph.initializers.find((initializer) => initializer.name === name)?.content;
  const maker = makers.get(name);
  const constant =
    maker?.opType === 'Constant'
      ? attributeOf(maker, 'value')?.fields.find(({ number }) => number === attributeField.t)?.content
      : undefined;
  const content = weight ?? constant;
  return content && int64sOf(readTensor(content));
}

function withoutRows(graph: OnnxGraph): string | undefined {
  for (const [what, values] of [
    ['input', callerInputs(graph)],
    ['output', graph.outputs],
  ] as const) {
    for (const value of values) {
      const type = valueType(value);
      if (type.t !== 'tensor' || !type.dims) continue;
      const [first] = type.dims;
      if (first === undefined) return `${what} "${value.name}" is a scalar, which no two requests can share`;
      if (typeof first === 'number' && first >= 0)
        return `${what} "${value.name}" has a first dimension of exactly ${first}; export it with a dynamic batch dimension to have it batched`;
    }
  }
  return undefined;
}

function title({ name, outputs: [output = ''] }: OnnxNode): string {
  return `"${name || output}"`;
}
