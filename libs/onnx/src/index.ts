export { floatsAttribute, intsAttribute, stringsAttribute, textAttribute } from './attribute-values.ts';
export { type Batching, batchingOf } from './batch-safety.ts';
export { attributeOf, intAttribute, type OnnxGraph, type OnnxNode, readModel } from './model.ts';
export { type ModelFacts, type NormalisedModel, normaliseOnnx } from './normalise.ts';
export { type Float16Storage, storeFloat16 } from './quantize/float16.ts';
export {
  type GateLimits,
  gateLimits,
  gateProblems,
  type OutputPair,
  type OutputReport,
  reportOutput,
  wilsonLower,
} from './quantize/gate.ts';
export { type OrtOptions, quantizeOrt } from './quantize/ort.ts';
export { type LayerDecision, quantizeRowWise, type RowWise, type RowWiseOptions } from './quantize/row-wise.ts';
export { int8Saturates } from './quantize/saturation.ts';
export { mlDomain } from './schema.ts';
export { callerInputs, typeName, valueType } from './values.ts';
export { operatorOfUnknownWork } from './work-by-shape.ts';
