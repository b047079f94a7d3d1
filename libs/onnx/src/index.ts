export { type Batching, batchingOf } from './batch-safety.ts';
export { readModel } from './model.ts';
export { type ModelFacts, type NormalisedModel, normaliseOnnx } from './normalise.ts';
