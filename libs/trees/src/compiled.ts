import { hasCategory, type TreeEnsemble, zeroMax } from './trees.ts';

/** The trees of an ensemble side by side in typed arrays: one row's way through them touches no object. */
export interface CompiledTrees {
  readonly roots: Int32Array;
  /** Of each node: the value that it looks at; −1 for a leaf. */
  readonly features: Int32Array;
  readonly thresholds: Float64Array;
  readonly lefts: Int32Array;
  readonly rights: Int32Array;
  readonly kinds: Uint8Array;
  /** Of a split by categories. */
  readonly categories: readonly (Uint32Array | undefined)[];
  /** What a leaf adds: entries from its start to its end. */
  readonly leafStarts: Int32Array;
  readonly leafEnds: Int32Array;
  readonly leafOutputs: Int32Array;
  readonly leafValues: Float64Array;
}

const strictly = 1;
const byCategory = 2;
const missingLeft = 4;
const zeroIsMissing = 8;
const missingIsZero = 16;

export function compileTrees({ trees }: TreeEnsemble): CompiledTrees {
  const nodes = trees.flat();
  const entries = nodes.reduce((sum, node) => sum + (node.t === 'leaf' ? node.values.length : 0), 0);
  const compiled = {
    roots: new Int32Array(trees.length),
    features: new Int32Array(nodes.length).fill(-1),
    thresholds: new Float64Array(nodes.length),
    lefts: new Int32Array(nodes.length),
    rights: new Int32Array(nodes.length),
    kinds: new Uint8Array(nodes.length),
    categories: nodes.map((node) => (node.t === 'split' ? node.categories : undefined)),
    leafStarts: new Int32Array(nodes.length),
    leafEnds: new Int32Array(nodes.length),
    leafOutputs: new Int32Array(entries),
    leafValues: new Float64Array(entries),
  };
  let first = 0;
  let entry = 0;
  for (const [index, tree] of trees.entries()) {
    compiled.roots[index] = first;
    for (const [at, node] of tree.entries()) {
      const place = first + at;
      if (node.t === 'leaf') {
        compiled.leafStarts[place] = entry;
        for (const { output, value } of node.values) {
          compiled.leafOutputs[entry] = output;
          compiled.leafValues[entry++] = value;
        }
        compiled.leafEnds[place] = entry;
        continue;
      }
      compiled.features[place] = node.feature;
      compiled.thresholds[place] = node.threshold;
      compiled.lefts[place] = first + node.left;
      compiled.rights[place] = first + node.right;
      compiled.kinds[place] =
        (node.decision === '<' ? strictly : 0) |
        (node.decision === 'in' ? byCategory : 0) |
        (node.missingLeft ? missingLeft : 0) |
        (node.missing === 'zero' ? zeroIsMissing : 0) |
        (node.missing === 'nan' ? 0 : missingIsZero);
    }
    first += tree.length;
  }
  return compiled;
}

/** The leaf that a row comes to, whose values begin at `from`: `goesLeft`, decided once for each split. */
export function leafOf(trees: CompiledTrees, root: number, values: Float32Array | Float64Array, from: number): number {
  let at = root;
  for (let feature = trees.features[at] ?? -1; feature >= 0; feature = trees.features[at] ?? -1) {
    const kind = trees.kinds[at] ?? 0;
    const threshold = trees.thresholds[at] ?? 0;
    let value = values[from + feature] ?? Number.NaN;
    if (Number.isNaN(value) && (kind & missingIsZero) !== 0) value = 0;
    let isLeft: boolean;
    if (Number.isNaN(value) || ((kind & zeroIsMissing) !== 0 && Math.abs(value) <= zeroMax))
      isLeft = (kind & missingLeft) !== 0;
    else if ((kind & byCategory) !== 0) isLeft = hasCategory(trees.categories[at], value);
    else isLeft = (kind & strictly) !== 0 ? value < threshold : value <= threshold;
    at = (isLeft ? trees.lefts[at] : trees.rights[at]) ?? 0;
  }
  return at;
}
