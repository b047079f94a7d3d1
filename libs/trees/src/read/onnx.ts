import { MeshError } from '@millrace/kernel';
import {
  attributeOf,
  callerInputs,
  floatsAttribute,
  intAttribute,
  intsAttribute,
  mlDomain,
  type OnnxGraph,
  type OnnxNode,
  readModel,
  stringsAttribute,
  textAttribute,
  typeName,
  valueType,
} from '@millrace/onnx';
import { damaged, sampleInstead, unsupported } from '../problems.ts';
import { checked, type TreeEnsemble, type TreeLeaf, type TreeNode } from '../trees.ts';

const format = 'ONNX';
const operators: readonly string[] = ['TreeEnsembleClassifier', 'TreeEnsembleRegressor'];

/**
 * The trees of a model that is one `TreeEnsembleClassifier` or `TreeEnsembleRegressor` over the model's input. Of two classes whose
 * leaves name one class alone there is one output, as in onnxruntime. UNSUPPORTED when the file has no covers: most converters leave
 * `nodes_hitrates` out or write 1.
 */
export function readOnnxTrees(bytes: Uint8Array, features: number): TreeEnsemble {
  const { graph } = readModel(bytes);
  const node = treesOf(graph);
  const isClassifier = node.opType === 'TreeEnsembleClassifier';
  const aggregate = textAttribute(node, 'aggregate_function', 'SUM');
  if (!['SUM', 'AVERAGE'].includes(aggregate))
    throw unsupported(format, `takes the ${aggregate} of its trees`, sampleInstead);
  for (const name of ['nodes_values_as_tensor', 'base_values_as_tensor'])
    if (attributeOf(node, name)) throw unsupported(format, 'compares float64 values', 'export it with float32 inputs');
  const leaves = leavesOf(node, isClassifier ? 'class' : 'target');
  const ids = new Set(leaves.map(({ output }) => output));
  const classes = (stringsAttribute(node, 'classlabels_strings') ?? intsAttribute(node, 'classlabels_int64s') ?? [])
    .length;
  const isBinary = isClassifier && classes === 2 && ids.size === 1;
  const outputs = isBinary ? 1 : isClassifier ? classes : intAttribute(node, 'n_targets', 1);
  const trees = readNodes(node, isBinary ? leaves.map((leaf) => ({ ...leaf, output: 0 })) : leaves);
  const scale = aggregate === 'AVERAGE' ? 1 / trees.length : 1;
  const given = [...(floatsAttribute(node, 'base_values') ?? [])];
  // onnxruntime: of two base values for one margin the second counts
  const bases = given.length === 0 ? new Array<number>(outputs).fill(0) : isBinary ? given.slice(-1) : given;
  return checked({
    trees: scale === 1 ? trees : trees.map((tree) => tree.map((at) => scaled(at, scale))),
    features,
    featureNames: [],
    outputs,
    baseValues: bases,
    isFloat32: !isDouble(graph, node),
  });
}

function treesOf(graph: OnnxGraph): OnnxNode {
  const found = graph.nodes.filter(({ domain, opType }) => domain === mlDomain && operators.includes(opType));
  const [node] = found;
  if (!node || found.length > 1)
    throw unsupported(format, `has ${found.length} nodes ${operators.join(' or ')}, not one`, sampleInstead);
  if (!callerInputs(graph).some(({ name }) => name === node.inputs[0]))
    throw unsupported(
      format,
      `changes its input before its trees (they read "${node.inputs[0] ?? ''}")`,
      `export the trees alone, or ${sampleInstead}`,
    );
  return node;
}

/** onnxruntime compares float64 inputs as such, all others as float32. */
function isDouble(graph: OnnxGraph, node: OnnxNode): boolean {
  const input = callerInputs(graph).find(({ name }) => name === node.inputs[0]);
  const type = input && valueType(input);
  return type?.t === 'tensor' && typeName(type.elemType) === 'double';
}

interface Leaf {
  readonly key: string;
  readonly output: number;
  readonly value: number;
}

function leavesOf(node: OnnxNode, kind: 'class' | 'target'): Leaf[] {
  const [trees, nodes, ids] = ['treeids', 'nodeids', 'ids'].map((name) => intsAttribute(node, `${kind}_${name}`) ?? []);
  return Array.from(floatsAttribute(node, `${kind}_weights`) ?? [], (value, at) => ({
    key: `${trees?.[at] ?? ''}/${nodes?.[at] ?? ''}`,
    output: ids?.[at] ?? -1,
    value,
  }));
}

function readNodes(node: OnnxNode, leaves: readonly Leaf[]): TreeNode[][] {
  const ints = (name: string) => intsAttribute(node, `nodes_${name}`) ?? [];
  const [treeIds, nodeIds, features] = [ints('treeids'), ints('nodeids'), ints('featureids')];
  const [whenTrue, whenFalse, missingTrue] = [
    ints('truenodeids'),
    ints('falsenodeids'),
    ints('missing_value_tracks_true'),
  ];
  const modes = stringsAttribute(node, 'nodes_modes') ?? [];
  const thresholds = floatsAttribute(node, 'nodes_values') ?? [];
  const covers = floatsAttribute(node, 'nodes_hitrates') ?? new Float32Array();
  for (const list of [nodeIds, features, whenTrue, whenFalse, modes, thresholds])
    if (list.length !== treeIds.length) throw damaged(format, 'the lists of its tree nodes differ in length');
  if (covers.length !== treeIds.length) throw withoutCovers('it has no nodes_hitrates');
  const valuesOf = Map.groupBy(leaves, ({ key }) => key);
  const trees = Map.groupBy(treeIds.keys(), (at) => treeIds[at]);
  return [...trees.values()].map((places) => {
    const indexOf = new Map(places.map((at, index) => [nodeIds[at], index]));
    const tree = places.map((at): TreeNode => {
      const cover = covers[at] ?? 0;
      const mode = modes[at] ?? '';
      if (mode === 'LEAF') return { t: 'leaf', values: valuesOf.get(`${treeIds[at]}/${nodeIds[at]}`) ?? [], cover };
      const order = orders[mode];
      if (!order) throw unsupported(format, `splits by ${mode}`, sampleInstead);
      const [yes, no] = [indexOf.get(whenTrue[at]) ?? -1, indexOf.get(whenFalse[at]) ?? -1];
      return {
        t: 'split',
        feature: features[at] ?? -1,
        threshold: thresholds[at] ?? Number.NaN,
        decision: order.decision,
        missing: 'nan',
        missingLeft: (missingTrue[at] === 1) === order.isTrueLeft,
        left: order.isTrueLeft ? yes : no,
        right: order.isTrueLeft ? no : yes,
        cover,
      };
    });
    checkCovers(tree);
    return tree;
  });
}

/** x > t is not x <= t: its true branch is the right one. */
const orders: Readonly<Record<string, { readonly decision: '<' | '<='; readonly isTrueLeft: boolean }>> = {
  BRANCH_LEQ: { decision: '<=', isTrueLeft: true },
  BRANCH_LT: { decision: '<', isTrueLeft: true },
  BRANCH_GT: { decision: '<=', isTrueLeft: false },
  BRANCH_GTE: { decision: '<', isTrueLeft: false },
};

/** Converters write 1 or 0 where they have no covers; those of a parent are its children's. */
function checkCovers(tree: readonly TreeNode[]): void {
  for (const node of tree) {
    if (node.t === 'leaf') continue;
    const [left, right] = [tree[node.left]?.cover ?? 0, tree[node.right]?.cover ?? 0];
    if (!(node.cover > 0) || Math.abs(left + right - node.cover) > 1e-3 * node.cover)
      throw withoutCovers(
        `its nodes_hitrates are no covers (a node has ${node.cover}, the two below it ${left} and ${right})`,
      );
  }
}

function withoutCovers(detail: string): MeshError {
  return new MeshError(
    'UNSUPPORTED',
    `exact attributions need how many training rows came to each tree node, and the ONNX file does not say: ${detail}; give the native file too (XGBoost: booster.save_model('model.json'); LightGBM: booster.save_model('model.txt')), or write nodes_hitrates; without them ${sampleInstead}`,
    { detail },
  );
}

function scaled(node: TreeNode, scale: number): TreeNode {
  if (node.t === 'split') return node;
  const leaf: TreeLeaf = {
    ...node,
    values: node.values.map(({ output, value }) => ({ output, value: value * scale })),
  };
  return leaf;
}
