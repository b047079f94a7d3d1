export { type Attributions, type ExplainedRow, type ExplainTrees, treeExplainer } from './attributions.ts';
export { type SampledRow, type SamplingOptions, type Score, sampleShapley } from './sampled.ts';
