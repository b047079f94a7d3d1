import type { Datatype } from '../domain/tensor.ts';

const datatypes: Readonly<Record<string, Datatype>> = {
  bool: 'BOOL',
  uint8: 'UINT8',
  uint16: 'UINT16',
  uint32: 'UINT32',
  uint64: 'UINT64',
  int8: 'INT8',
  int16: 'INT16',
  int32: 'INT32',
  int64: 'INT64',
  float16: 'FP16',
  float32: 'FP32',
  float64: 'FP64',
  string: 'BYTES',
};
const ortTypes = Object.fromEntries(Object.entries(datatypes).map(([type, datatype]) => [datatype, type])) as Readonly<
  Record<Datatype, string>
>;

/** onnxruntime's name of an element type, in the words of the Open Inference Protocol. */
export const datatypeOf = (type: string): Datatype => datatypes[type] ?? 'BYTES';

export const ortTypeOf = (datatype: Datatype): string => ortTypes[datatype];
