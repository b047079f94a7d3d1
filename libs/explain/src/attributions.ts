import { asCompared, checked, depthOf, marginsOf, type TreeEnsemble } from '@millrace/trees';
import { addExpectation, createTreeShap } from './tree-shap.ts';

/** How a row's margin of one output comes about. */
export interface Attributions {
  /** One of each feature. */
  readonly values: Float64Array;
  /** What the model says on average over its training rows. */
  readonly base: number;
  readonly margin: number;
  /** Sum of the attributions + base − margin: what float64 lost. */
  readonly residual: number;
}

/** One of each output. */
export type ExplainedRow = readonly Attributions[];

/** Rows of one value of each feature, NaN for missing ones. */
export type ExplainTrees = (rows: readonly ArrayLike<number>[]) => readonly ExplainedRow[];

/** Exact path-dependent TreeSHAP in float64. WRONG_TENSOR_SHAPE for a row of another length. */
export function treeExplainer(given: TreeEnsemble): ExplainTrees {
  const ensemble = checked(given);
  const { trees, features, outputs } = ensemble;
  const addTree = createTreeShap(features, depthOf(trees));
  const bases = Float64Array.from(ensemble.baseValues);
  for (const tree of trees) addExpectation(tree, bases);

  return (rows) =>
    rows.map((row) => {
      const values = asCompared(ensemble, row);
      const sums = new Float64Array(outputs * features);
      for (const tree of trees) addTree(tree, values, sums);
      return Array.from(marginsOf(ensemble, row), (margin, output) => {
        const of = sums.subarray(output * features, (output + 1) * features);
        const base = bases[output] ?? 0;
        return { values: of, base, margin, residual: of.reduce((sum, value) => sum + value, base) - margin };
      });
    });
}
