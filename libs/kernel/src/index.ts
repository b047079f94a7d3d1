export { BoundedQueue } from './bounded-queue.ts';
export { type Clock, createSystemClock } from './clock.ts';
export { formatDurationUs, parseDurationUs } from './durations.ts';
export { type ErrorMetadata, MeshError, toMeshError } from './errors.ts';
export { parseExactJson } from './exact-json.ts';
export { fieldName, fieldNames } from './field-names.ts';
export { canonicalJson, contentVersion, hash32, newId } from './hashing.ts';
export { quote } from './quote.ts';
export { isReason, Reason, ReasonCode } from './reasons.ts';
