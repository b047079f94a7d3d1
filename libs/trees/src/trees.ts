import { MeshError } from '@millrace/kernel';

/** What a split does with a value that is not there. */
export type Missing =
  /** NaN goes where `missingLeft` says. */
  | 'nan'
  /** NaN and zero go where `missingLeft` says (LightGBM's zero_as_missing). */
  | 'zero'
  /** NaN is compared as 0 (LightGBM, trained without missing values). */
  | 'none';

export interface TreeSplit {
  readonly t: 'split';
  readonly feature: number;
  readonly threshold: number;
  /** A row goes left when its value is so to the threshold, or is one of the categories. */
  readonly decision: '<' | '<=' | 'in';
  /** Bits by category, of a split by `in`. */
  readonly categories?: Uint32Array;
  readonly missing: Missing;
  readonly missingLeft: boolean;
  readonly left: number;
  readonly right: number;
  /** The weight of the training rows that came here. */
  readonly cover: number;
}

export interface TreeLeaf {
  readonly t: 'leaf';
  readonly values: readonly { readonly output: number; readonly value: number }[];
  readonly cover: number;
}

export type TreeNode = TreeSplit | TreeLeaf;

/** Trees whose leaves are summed. The outputs are margins: before any sigmoid, softmax or exp. */
export interface TreeEnsemble {
  /** Node 0 is the root. */
  readonly trees: readonly (readonly TreeNode[])[];
  readonly features: number;
  /** Empty when the file does not name them. */
  readonly featureNames: readonly string[];
  readonly outputs: number;
  /** One of each output. */
  readonly baseValues: readonly number[];
  /** Whether the model compares its inputs as float32. */
  readonly isFloat32: boolean;
}

/** The paths of a tree are at most so long. Real ones are below 64; TreeSHAP's work grows with the square. */
export const depthMax = 256;
const nodesMax = 10_000_000;
const outputsMax = 100_000;

/** LightGBM's kZeroThreshold. */
export const zeroMax = 1e-35;

export function goesLeft(split: TreeSplit, value: number): boolean {
  const compared = Number.isNaN(value) && split.missing !== 'nan' ? 0 : value;
  if (Number.isNaN(compared)) return split.missingLeft;
  if (split.missing === 'zero' && Math.abs(compared) <= zeroMax) return split.missingLeft;
  if (split.decision === 'in') return hasCategory(split.categories, compared);
  return split.decision === '<' ? compared < split.threshold : compared <= split.threshold;
}

/** A category is the whole part of a value; one that no training row had is in no set. */
export function hasCategory(categories: Uint32Array | undefined, value: number): boolean {
  const category = Math.trunc(value);
  return category >= 0 && (((categories?.[Math.floor(category / 32)] ?? 0) >>> (category % 32)) & 1) === 1;
}

/** Bits of the categories. */
export function categoryBits(categories: readonly number[]): Uint32Array {
  const bits = new Uint32Array(Math.floor(Math.max(-1, ...categories) / 32) + 1);
  for (const category of categories) bits[category >>> 5] = (bits[category >>> 5] ?? 0) | (1 << (category & 31));
  return bits;
}

/** The values as the model compares them. */
export function asCompared(ensemble: TreeEnsemble, row: ArrayLike<number>): Float64Array {
  if (row.length !== ensemble.features)
    throw new MeshError(
      'WRONG_TENSOR_SHAPE',
      `the row has ${row.length} values and the trees have ${ensemble.features} features; give one value of each, NaN for a missing one`,
      { values: row.length, features: ensemble.features },
    );
  return Float64Array.from(ensemble.isFloat32 ? Float32Array.from(row) : row);
}

/** What the trees say of a row: base values plus a leaf of each tree, in float64. */
export function marginsOf(ensemble: TreeEnsemble, row: ArrayLike<number>): Float64Array {
  const values = asCompared(ensemble, row);
  const margins = Float64Array.from(ensemble.baseValues);
  for (const tree of ensemble.trees) {
    let node = tree[0];
    while (node?.t === 'split')
      node = tree[goesLeft(node, values[node.feature] ?? Number.NaN) ? node.left : node.right];
    for (const { output, value } of node?.values ?? []) margins[output] = (margins[output] ?? 0) + value;
  }
  return margins;
}

/** The ensemble when it is one: trees with covers, of features and outputs that exist. MODEL_LOAD_FAILED else. */
export function checked(ensemble: TreeEnsemble): TreeEnsemble {
  const { trees, features, outputs, baseValues } = ensemble;
  if (!Number.isInteger(features) || features < 1) throw broken(`they have ${features} features`);
  if (!Number.isInteger(outputs) || outputs < 1 || outputs > outputsMax) throw broken(`they have ${outputs} outputs`);
  if (baseValues.length !== outputs || !baseValues.every(Number.isFinite))
    throw broken(`they have ${outputs} outputs and the base values [${baseValues.slice(0, 8).join(', ')}]`);
  if (trees.reduce((sum, tree) => sum + tree.length, 0) > nodesMax)
    throw broken(`they have more than ${nodesMax} nodes`);
  for (const [index, tree] of trees.entries()) checkTree(ensemble, tree, index);
  return ensemble;
}

/** Of the longest path, in splits. */
export function depthOf(trees: readonly (readonly TreeNode[])[]): number {
  const depthIn = (tree: readonly TreeNode[], at: number): number => {
    const node = tree[at];
    return node?.t === 'split' ? 1 + Math.max(depthIn(tree, node.left), depthIn(tree, node.right)) : 0;
  };
  return trees.reduce((depth, tree) => Math.max(depth, depthIn(tree, 0)), 0);
}

function checkTree({ features, outputs }: TreeEnsemble, tree: readonly TreeNode[], index: number): void {
  const seen = new Uint8Array(tree.length);
  const next: [at: number, depth: number][] = [[0, 0]];
  for (let step = next.pop(); step; step = next.pop()) {
    const [at, depth] = step;
    const node = tree[at];
    const where = `node ${at} of tree ${index}`;
    if (!node) throw broken(`${where} does not exist`);
    if (seen[at] === 1) throw broken(`${where} has two parents`);
    if (depth > depthMax) throw broken(`tree ${index} is deeper than ${depthMax}`);
    if (!Number.isFinite(node.cover) || node.cover < 0) throw broken(`${where} has the cover ${node.cover}`);
    seen[at] = 1;
    if (node.t === 'leaf') {
      const wrong = node.values.find(
        ({ output, value }) => !(output >= 0 && output < outputs && Number.isFinite(value)),
      );
      if (wrong) throw broken(`${where} adds ${wrong.value} to output ${wrong.output} of ${outputs}`);
    } else {
      if (!(node.feature >= 0 && node.feature < features))
        throw broken(`${where} splits by feature ${node.feature} of ${features}`);
      if (Number.isNaN(node.threshold)) throw broken(`${where} has no threshold`);
      next.push([node.left, depth + 1], [node.right, depth + 1]);
    }
  }
}

function broken(detail: string): MeshError {
  return new MeshError('MODEL_LOAD_FAILED', `the trees are damaged: ${detail}; save or copy the file again`, {
    detail,
  });
}
