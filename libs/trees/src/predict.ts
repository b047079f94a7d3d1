import { type CompiledTrees, compileTrees, leafOf } from './compiled.ts';
import { type Link, predictionWidth, type TreeModel } from './tree-model.ts';

export interface TreePredictions {
  /** Row-major [rows, outputs]: before the link. */
  readonly margins: Float32Array | Float64Array;
  /** Row-major [rows, predictionWidth]. */
  readonly predictions: Float32Array | Float64Array;
}

/** Row-major [rows, features] in the library's own precision: float32 for XGBoost, float64 for LightGBM; NaN for missing values. */
export type PredictTrees = (values: Float32Array | Float64Array, rows: number) => TreePredictions;

/** Predicts as the library does: its sums have its precision and its order. */
export function treePredictor(model: TreeModel): PredictTrees {
  const { ensemble, link } = model;
  const trees = compileTrees(ensemble);
  const { outputs, isFloat32 } = ensemble;
  const width = predictionWidth(model);
  const numbers = (length: number) => (isFloat32 ? new Float32Array(length) : new Float64Array(length));
  const bases = numbers(outputs);
  bases.set(ensemble.baseValues);
  return (values, rows) => {
    const margins = numbers(rows * outputs);
    const predictions = numbers(rows * width);
    const scratch = new Float64Array(outputs);
    for (let row = 0; row < rows; row++) {
      // stored into the library's own precision after each tree
      const own = margins.subarray(row * outputs, (row + 1) * outputs);
      own.set(bases);
      addTrees(trees, values, row * ensemble.features, own);
      applyLink(link, own, scratch);
      for (let at = 0; at < width; at++) predictions[row * width + at] = scratch[at] ?? 0;
    }
    return { margins, predictions };
  };
}

function addTrees(
  trees: CompiledTrees,
  values: Float32Array | Float64Array,
  from: number,
  margins: Float32Array | Float64Array,
): void {
  for (const root of trees.roots) {
    const leaf = leafOf(trees, root, values, from);
    const last = (trees.leafEnds[leaf] ?? 0) as number;
    for (let at = trees.leafStarts[leaf] ?? 0; at < last; at++) {
      const output = trees.leafOutputs[at] ?? 0;
      margins[output] = (margins[output] ?? 0) + (trees.leafValues[at] ?? 0);
    }
  }
}

function applyLink(link: Link, margins: Float32Array | Float64Array, to: Float64Array): void {
  switch (link.t) {
    case 'softmax':
      softmax(margins, to);
      return;
    case 'argmax':
      to[0] = indexOfLargest(margins);
      return;
    default:
      for (let at = 0; at < margins.length; at++) to[at] = linked(link, margins[at] ?? 0);
  }
}

function linked(link: Exclude<Link, { readonly t: 'softmax' | 'argmax' }>, margin: number): number {
  switch (link.t) {
    case 'identity':
      return margin;
    case 'logistic':
      return 1 / (1 + Math.exp(-link.slope * margin));
    case 'exp':
      return Math.exp(margin);
    case 'step':
      return margin > 0 ? 1 : 0;
    case 'signed_square':
      return Math.sign(margin) * margin * margin;
    case 'softplus':
      return Math.log1p(Math.exp(margin));
    default:
      return link satisfies never;
  }
}

function softmax(margins: Float32Array | Float64Array, to: Float64Array): void {
  const largest = margins[indexOfLargest(margins)] ?? 0;
  let sum = 0;
  for (let at = 0; at < margins.length; at++) {
    const weight = Math.exp((margins[at] ?? 0) - largest);
    to[at] = weight;
    sum += weight;
  }
  for (let at = 0; at < margins.length; at++) to[at] = (to[at] ?? 0) / sum;
}

/** The first of equals, as std::max_element has it. */
function indexOfLargest(margins: Float32Array | Float64Array): number {
  let best = 0;
  for (let at = 1; at < margins.length; at++) if ((margins[at] ?? 0) > (margins[best] ?? 0)) best = at;
  return best;
}
