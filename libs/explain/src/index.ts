export { type Attributions, type ExplainedRow, type ExplainTrees, treeExplainer } from './attributions.ts';
export { readLightgbm } from './read/lightgbm.ts';
export { readOnnxTrees } from './read/onnx.ts';
export { readTreeFile } from './read/tree-file.ts';
export { readXgboost } from './read/xgboost.ts';
export { type SampledRow, type SamplingOptions, type Score, sampleShapley } from './sampled.ts';
export { marginsOf, type TreeEnsemble, type TreeLeaf, type TreeNode, type TreeSplit } from './trees.ts';
