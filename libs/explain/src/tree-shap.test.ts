import { goesLeft, type TreeEnsemble, type TreeNode } from '@millrace/trees';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { treeExplainer } from './attributions.ts';

const features = 4;

interface Shape {
  readonly feature: number;
  readonly threshold: number;
  readonly isStrict: boolean;
  readonly missingLeft: boolean;
  readonly children: readonly [Shape | number, Shape | number];
  /** Training rows of a leaf below; 0 is a leaf that none came to. */
  readonly covers: readonly [number, number];
}

const threshold = fc.integer({ min: -2, max: 2 });
const value = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constant(Number.NaN));
const { shape } = fc.letrec<{ shape: Shape; child: Shape | number }>((tie) => ({
  child: fc.oneof({ maxDepth: 4, depthSize: 'large' }, fc.integer({ min: -9, max: 9 }), tie('shape')),
  shape: fc.record({
    feature: fc.nat(features - 1),
    threshold,
    isStrict: fc.boolean(),
    missingLeft: fc.boolean(),
    children: fc.tuple(tie('child'), tie('child')),
    covers: fc.tuple(fc.nat(5), fc.nat(5)),
  }),
}));

function treeOf(root: Shape): TreeNode[] {
  const nodes: TreeNode[] = [];
  const add = (from: Shape | number, cover: number): number => {
    const at = nodes.length;
    nodes.push({ t: 'leaf', values: typeof from === 'number' ? leafValues(from) : [], cover });
    if (typeof from === 'number') return at;
    const left = add(from.children[0], from.covers[0]);
    const right = add(from.children[1], from.covers[1]);
    nodes[at] = {
      t: 'split',
      feature: from.feature,
      threshold: from.threshold,
      decision: from.isStrict ? '<' : '<=',
      missing: 'nan',
      missingLeft: from.missingLeft,
      left,
      right,
      cover: (nodes[left]?.cover ?? 0) + (nodes[right]?.cover ?? 0),
    };
    return at;
  };
  add(root, 0);
  return nodes;
}

function leafValues(from: number) {
  return [
    { output: 0, value: from },
    { output: 1, value: from * from },
  ];
}

/** Path-dependent expectation: features outside of the subset go both ways, by the covers. */
function expectation(
  tree: readonly TreeNode[],
  at: number,
  row: readonly number[],
  subset: number,
  output: number,
): number {
  const node = tree[at];
  if (!node) return Number.NaN;
  if (node.t === 'leaf') return node.values[output]?.value ?? 0;
  const below = (child: number) => expectation(tree, child, row, subset, output);
  if ((subset >> node.feature) & 1) return below(goesLeft(node, row[node.feature] ?? 0) ? node.left : node.right);
  const share = node.cover > 0 ? (tree[node.left]?.cover ?? 0) / node.cover : 0.5;
  return share * below(node.left) + (1 - share) * below(node.right);
}

function bruteForce(worth: (subset: number) => number): number[] {
  const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1));
  return Array.from({ length: features }, (_, feature) => {
    let sum = 0;
    for (let subset = 0; subset < 2 ** features; subset++) {
      if ((subset >> feature) & 1) continue;
      const size = [...subset.toString(2)].filter((bit) => bit === '1').length;
      const weight = (factorial(size) * factorial(features - size - 1)) / factorial(features);
      sum += weight * (worth(subset | (1 << feature)) - worth(subset));
    }
    return sum;
  });
}

test('TreeSHAP is Shapley over all subsets: repeated features, missing values, covers of 0, several trees and outputs', () => {
  const row = fc.array(value, { minLength: features, maxLength: features });
  fc.assert(
    fc.property(fc.array(shape, { minLength: 1, maxLength: 3 }), row, (shapes, given) => {
      const trees = shapes.map(treeOf);
      const ensemble: TreeEnsemble = {
        trees,
        features,
        featureNames: [],
        outputs: 2,
        baseValues: [0.5, -1],
        isFloat32: false,
      };
      const [explained = []] = treeExplainer(ensemble)([given]);
      expect(explained.length).toBe(2);
      for (const [output, { values, base, margin, residual }] of explained.entries()) {
        const worth = (subset: number) =>
          trees.reduce((sum, tree) => sum + expectation(tree, 0, given, subset, output), [0.5, -1][output] ?? 0);
        const expected = bruteForce(worth);
        for (const [feature, value] of values.entries()) expect(value).toBeCloseTo(expected[feature] ?? Number.NaN, 9);
        expect(base).toBeCloseTo(worth(0), 9);
        expect(margin).toBeCloseTo(worth(2 ** features - 1), 9);
        expect(Math.abs(residual)).toBeLessThan(1e-9);
      }
    }),
    { numRuns: 1000 },
  );
});

test('the residual stays below 1e-9 for paths of 60 features with lopsided covers', () => {
  const depth = 60;
  const nodes: TreeNode[] = [];
  for (let level = 0; level < depth; level++) {
    const cover = 2 + (depth - level) * 50;
    nodes.push(
      {
        t: 'split',
        feature: level,
        threshold: 0,
        decision: '<',
        missing: 'nan',
        missingLeft: true,
        left: 2 * level + 1,
        right: 2 * level + 2,
        cover,
      },
      { t: 'leaf', values: [{ output: 0, value: level % 7 }], cover: level % 3 === 0 ? 49 : 50 },
    );
  }
  nodes.push({ t: 'leaf', values: [{ output: 0, value: 100 }], cover: 2 });
  const ensemble = { trees: [nodes], features: depth, featureNames: [], outputs: 1, baseValues: [0], isFloat32: true };
  const rows = [new Float32Array(depth).fill(1), Float32Array.from({ length: depth }, (_, at) => (at > 30 ? -1 : 1))];
  const residuals = treeExplainer(ensemble)(rows).map(([only]) => Math.abs(only?.residual ?? Number.NaN));
  expect(residuals.length).toBe(2);
  for (const residual of residuals) expect(residual).toBeLessThan(1e-9);
});

test('a row of another length is refused', () => {
  const leaf: TreeNode = { t: 'leaf', values: [{ output: 0, value: 1 }], cover: 1 };
  const explain = treeExplainer({
    trees: [[leaf]],
    features: 2,
    featureNames: [],
    outputs: 1,
    baseValues: [0],
    isFloat32: true,
  });
  expect(() => explain([[1]])).toThrow(/1 values and the trees have 2 features/);
});
