export { type PredictTrees, type TreePredictions, treePredictor } from './predict.ts';
export { readLightgbm } from './read/lightgbm.ts';
export { readOnnxTrees } from './read/onnx.ts';
export { readTreeFile, readTreeModel } from './read/tree-file.ts';
export { readXgboost } from './read/xgboost.ts';
export { type Link, predictionWidth, type TreeModel } from './tree-model.ts';
export {
  asCompared,
  checked,
  depthMax,
  depthOf,
  goesLeft,
  marginsOf,
  type TreeEnsemble,
  type TreeLeaf,
  type TreeNode,
  type TreeSplit,
} from './trees.ts';
