import { goesLeft, type TreeLeaf, type TreeNode } from '@millrace/trees';

/** Adds the path-dependent Shapley values of one tree to `sums` [outputs, features]. O(leaves × depth²). */
export type AddTree = (tree: readonly TreeNode[], row: Float64Array, sums: Float64Array) => void;

/**
 * The features of the way to a node: of each the share of the training rows that would come this way without knowing it (`zero`),
 * and whether the row does (`one`); and at each point t of the quadrature the product of all zero + t (one − zero).
 */
interface Path {
  readonly feature: Int32Array;
  readonly zero: Float64Array;
  readonly one: Float64Array;
  readonly product: Float64Array;
}

/**
 * TreeSHAP (Lundberg, Erion and Lee, 2018): a leaf is worth the product of the ones of known features and the zeros of others, and
 * the Shapley value of i in that game is (oneᵢ − zeroᵢ) ∫₀¹ Π_{j≠i} (zeroⱼ + t (oneⱼ − zeroⱼ)) dt. Gauss and Legendre's quadrature of
 * ⌈depth ÷ 2⌉ points is exact for it. All its terms are positive, where the subtractions of their Algorithm 2 (its UNWIND) lose all
 * digits on paths of some 60 features; the work is the same.
 */
export function createTreeShap(features: number, depth: number): AddTree {
  const { points, weights } = gaussLegendre(Math.max(1, Math.ceil(Math.min(depth, features) / 2)));
  const paths = Array.from({ length: depth + 1 }, (_, length) => emptyPath(length, points.length));

  return (tree, row, sums) => {
    const visit = (at: number, level: number, length: number): void => {
      const node = tree[at];
      const path = paths[level];
      if (!node || !path) return;
      if (node.t === 'leaf') {
        addLeaf(node, path, length);
        return;
      }
      const isLeft = goesLeft(node, row[node.feature] ?? Number.NaN);
      const place = placeOf(path.feature, length, node.feature);
      const [zero, one] = place < length ? [path.zero[place] ?? 0, path.one[place] ?? 0] : [1, 1];
      for (const child of [node.left, node.right]) {
        const childZero = zero * shareOf(tree, node.cover, child);
        const childOne = (child === node.left) === isLeft ? one : 0;
        // where neither the row nor any training row goes, every subset is worth 0
        if (childZero === 0 && childOne === 0) continue;
        const below = paths[level + 1];
        if (!below) continue;
        copyPath(path, below, length);
        below.feature[place] = node.feature;
        below.zero[place] = childZero;
        below.one[place] = childOne;
        for (const [k, t] of points.entries())
          below.product[k] =
            ((path.product[k] ?? 0) / (zero + t * (one - zero))) * (childZero + t * (childOne - childZero));
        visit(child, level + 1, Math.max(length, place + 1));
      }
    };

    const addLeaf = ({ values }: TreeLeaf, { feature, zero, one, product }: Path, length: number): void => {
      for (let i = 0; i < length; i++) {
        const zeroOf = zero[i] ?? 0;
        const gain = (one[i] ?? 0) - zeroOf;
        let integral = 0;
        for (let k = 0; k < points.length; k++)
          integral += ((weights[k] ?? 0) * (product[k] ?? 0)) / (zeroOf + (points[k] ?? 0) * gain);
        for (const { output, value } of values) {
          const at = output * features + (feature[i] ?? 0);
          sums[at] = (sums[at] ?? 0) + gain * integral * value;
        }
      }
    };

    paths[0]?.product.fill(1);
    visit(0, 0, 0);
  };
}

/** What the tree says on average over its training rows: Σ of the leaves' values by the shares of the way to them. */
export function addExpectation(tree: readonly TreeNode[], sums: Float64Array): void {
  const visit = (at: number, share: number) => {
    const node = tree[at];
    if (!node || share === 0) return;
    if (node.t === 'leaf') {
      for (const { output, value } of node.values) sums[output] = (sums[output] ?? 0) + share * value;
      return;
    }
    for (const child of [node.left, node.right]) visit(child, share * shareOf(tree, node.cover, child));
  };
  visit(0, 1);
}

/** A node that no training row came to sends half of none each way. */
function shareOf(tree: readonly TreeNode[], cover: number, child: number): number {
  return cover > 0 ? (tree[child]?.cover ?? 0) / cover : 0.5;
}

function emptyPath(length: number, points: number): Path {
  return {
    feature: new Int32Array(length),
    zero: new Float64Array(length),
    one: new Float64Array(length),
    product: new Float64Array(points),
  };
}

function copyPath(from: Path, to: Path, length: number): void {
  for (let i = 0; i < length; i++) {
    to.feature[i] = from.feature[i] ?? 0;
    to.zero[i] = from.zero[i] ?? 0;
    to.one[i] = from.one[i] ?? 0;
  }
}

function placeOf(known: Int32Array, length: number, feature: number): number {
  for (let i = 0; i < length; i++) if (known[i] === feature) return i;
  return length;
}

/** On [0, 1]; the roots of Legendre's polynomial by Newton's method. */
function gaussLegendre(count: number): { readonly points: Float64Array; readonly weights: Float64Array } {
  const points = new Float64Array(count);
  const weights = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    let x = Math.cos((Math.PI * (i + 0.75)) / (count + 0.5));
    let slope = 1;
    for (let step = 0; step < 20; step++) {
      let [before, at] = [1, x];
      for (let n = 2; n <= count; n++) [before, at] = [at, ((2 * n - 1) * x * at - (n - 1) * before) / n];
      slope = (count * (x * at - before)) / (x * x - 1);
      const move = at / slope;
      x -= move;
      if (Math.abs(move) < 1e-16) break;
    }
    points[i] = (1 - x) / 2;
    weights[i] = 1 / ((1 - x * x) * slope * slope);
  }
  return { points, weights };
}
