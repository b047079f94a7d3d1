export { type AvroHeader, avroSyncBytes, readAvroBlockHead, readAvroHeader } from './avro/container.ts';
export { type AvroRows, avroRows } from './avro/rows.ts';
export { BadPayload, SchemaError } from './bad-payload.ts';
export { compilePayload, type PayloadCodec, type SourceVersion } from './codec.ts';
export { derivedFields, payloadFields, payloadIdentity, payloadProblems } from './describe.ts';
export { type PayloadDelta, payloadDeltas } from './evolution.ts';
export type { PayloadField, PayloadFields, Unfit } from './payload-field.ts';
