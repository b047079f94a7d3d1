import { floatAttribute, intAttribute, makeNode, type NamedContent, type OnnxGraph, type OnnxNode } from '../model.ts';
import { dataType } from '../schema.ts';
import { floatsOf, rawTensor, readTensor } from '../tensor.ts';
import { tensorValue, valueType } from '../values.ts';

export interface Decomposed {
  readonly graph: OnnxGraph;
  /** The Gemm that a MatMul comes from, by the MatMul's name. */
  readonly gemmOf: ReadonlyMap<string, string>;
}

/**
 * Gemm with alpha = beta = 1 and transA = 0 becomes MatMul and Add, a transposed weight is written transposed: names, places and the shapes
 * that are told are those of onnxruntime's `replace_gemm_with_matmul`. Other Gemms stay.
 */
export function gemmToMatMul(graph: OnnxGraph): Decomposed {
  const taken = takenNames(graph);
  const weights = new Map(graph.initializers.map((weight) => [weight.name, weight]));
  const transposed = new Map<string, string>();
  const initializers = [...graph.initializers];
  const valueInfos = [...graph.valueInfos];
  const gemmOf = new Map<string, string>();
  const weightOf = (name: string): string | undefined => {
    const weight = weights.get(name);
    if (!weight) return undefined;
    const known = transposed.get(name);
    if (known !== undefined) return known;
    const fresh = freshName(name, taken);
    initializers.push(transposedWeight(weight, fresh));
    transposed.set(name, fresh);
    return fresh;
  };
  const nodes = graph.nodes.flatMap((node) => {
    if (node.opType !== 'Gemm' || node.domain !== '' || !isPlain(node)) return [node];
    const { nodes: made, product } = decompose(node, weightOf);
    gemmOf.set(`${node.name}_MatMul`, node.name);
    const info = product === undefined ? undefined : productInfo(node, product, graph);
    if (info) valueInfos.push(info);
    return made;
  });
  return { graph: { ...graph, nodes, initializers, valueInfos }, gemmOf };
}

function isPlain(node: OnnxNode): boolean {
  return (
    floatAttribute(node, 'alpha', 1) === 1 &&
    floatAttribute(node, 'beta', 1) === 1 &&
    intAttribute(node, 'transA', 0) === 0
  );
}

function decompose(node: OnnxNode, weightOf: (name: string) => string | undefined) {
  const [a = '', b = '', c] = node.inputs;
  const [y = ''] = node.outputs;
  const named = (suffix: string) => (node.name === '' ? '' : `${node.name}_${suffix}`);
  const nodes: OnnxNode[] = [];
  let factor = b;
  if (intAttribute(node, 'transB', 0) === 1) {
    const weight = weightOf(b);
    factor = weight ?? `${b}_Transposed`;
    if (weight === undefined)
      nodes.push(makeNode({ opType: 'Transpose', inputs: [b], outputs: [factor], name: named('Transpose') }));
  }
  const product = c === undefined ? y : `${y}_MatMul`;
  nodes.push(makeNode({ opType: 'MatMul', inputs: [a, factor], outputs: [product], name: named('MatMul') }));
  if (c !== undefined) nodes.push(makeNode({ opType: 'Add', inputs: [product, c], outputs: [y], name: named('Add') }));
  return { nodes, product: c === undefined ? undefined : product };
}

/** The shape of A × B where both are known, as shape inference finds it. */
function productInfo(node: OnnxNode, product: string, graph: OnnxGraph): NamedContent | undefined {
  const [a = '', b = ''] = node.inputs;
  const known = [...graph.inputs, ...graph.valueInfos].find(({ name }) => name === a);
  const type = known && valueType(known);
  const weight = graph.initializers.find(({ name }) => name === b);
  if (type?.t !== 'tensor' || !type.dims || !weight) return undefined;
  const { dims } = readTensor(weight.content);
  const columns = dims[intAttribute(node, 'transB', 0) === 1 ? 0 : 1] ?? '';
  return tensorValue(product, type.elemType, [type.dims[0] ?? '', columns]);
}

function transposedWeight(weight: NamedContent, name: string): NamedContent {
  const tensor = readTensor(weight.content);
  const values = floatsOf(tensor);
  const [rows = 0, columns = 0] = tensor.dims;
  const turned = new Float32Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) turned[column * rows + row] = values[row * columns + column] ?? 0;
  return rawTensor(name, dataType.float, [columns, rows], turned);
}

const derived = ['', '_quantized', '_scale', '_zero_point'];

function freshName(weight: string, taken: Set<string>): string {
  let name = `${weight}_Transposed`;
  for (let suffix = 1; derived.some((end) => taken.has(name + end)); suffix++) name = `${weight}_Transposed_${suffix}`;
  for (const end of derived) taken.add(name + end);
  return name;
}

function takenNames(graph: OnnxGraph): Set<string> {
  return new Set([
    ...[...graph.initializers, ...graph.inputs, ...graph.outputs, ...graph.valueInfos].map(({ name }) => name),
    ...graph.nodes.flatMap(({ inputs, outputs }) => [...inputs, ...outputs]),
  ]);
}
