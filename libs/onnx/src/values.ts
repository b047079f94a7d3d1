import type { NamedContent, OnnxGraph } from './model.ts';
import { dataType, dimField, tensorTypeField, typeField, valueInfoField } from './schema.ts';
import { delimited, fieldsOf, numberOf, textField, textOf, varintField, type WireField } from './wire.ts';

/** A dimension: its size, or its name; empty when the model does not say. */
export type Dim = number | string;

/** The type of a graph's input or output. A sequence has its element's type when that is a tensor. */
export type ValueType =
  | { readonly t: 'tensor'; readonly elemType: number; readonly dims: readonly Dim[] | undefined }
  | { readonly t: 'sequence'; readonly element: Extract<ValueType, { t: 'tensor' }> | undefined }
  | { readonly t: 'map' | 'optional' | 'sparse' | 'unknown' };

export function valueType({ content }: NamedContent): ValueType {
  return typeOf(contentOf(fieldsOf(content), valueInfoField.type));
}

function typeOf(type: Uint8Array | undefined): ValueType {
  if (!type) return { t: 'unknown' };
  const fields = fieldsOf(type);
  const tensor = contentOf(fields, typeField.tensor);
  if (tensor) return tensorType(fieldsOf(tensor));
  const sequence = contentOf(fields, typeField.sequence);
  if (sequence) {
    const element = contentOf(fieldsOf(sequence), 1);
    const elementTensor = element && contentOf(fieldsOf(element), typeField.tensor);
    return { t: 'sequence', element: elementTensor ? tensorType(fieldsOf(elementTensor)) : undefined };
  }
  if (contentOf(fields, typeField.map)) return { t: 'map' };
  if (contentOf(fields, typeField.optional)) return { t: 'optional' };
  if (contentOf(fields, typeField.sparseTensor)) return { t: 'sparse' };
  return { t: 'unknown' };
}

function tensorType(fields: readonly WireField[]): Extract<ValueType, { t: 'tensor' }> {
  const shape = contentOf(fields, tensorTypeField.shape);
  const dims = shape && fieldsOf(shape).map(({ content }) => dimOf(fieldsOf(content)));
  return { t: 'tensor', elemType: numberOf(fields, tensorTypeField.elemType), dims };
}

function dimOf(fields: readonly WireField[]): Dim {
  const size = fields.findLast(({ number }) => number === dimField.value);
  return size ? size.value : textOf(fields, dimField.param);
}

export function tensorValue(name: string, elemType: number, dims?: readonly Dim[]): NamedContent {
  const shape = dims?.map((dim) => {
    if (typeof dim === 'number') return delimited(1, varintField(dimField.value, dim));
    return delimited(1, dim === '' ? new Uint8Array(0) : textField(dimField.param, dim));
  });
  const tensor = Buffer.concat([
    varintField(tensorTypeField.elemType, elemType),
    ...(shape ? [delimited(tensorTypeField.shape, Buffer.concat(shape))] : []),
  ]);
  const content = Buffer.concat([
    textField(valueInfoField.name, name),
    delimited(valueInfoField.type, delimited(typeField.tensor, tensor)),
  ]);
  return { name, content };
}

/** The inputs that callers give: files of before IR version 4 name their weights among the inputs too. */
export function callerInputs(graph: OnnxGraph): readonly NamedContent[] {
  const weights = new Set(graph.initializers.map(({ name }) => name));
  return graph.inputs.filter(({ name }) => !weights.has(name));
}

export function typeName(elemType: number): string {
  return Object.entries(dataType).find(([, value]) => value === elemType)?.[0] ?? `type ${elemType}`;
}

function contentOf(fields: readonly WireField[], number: number): Uint8Array | undefined {
  return fields.findLast((field) => field.number === number && field.type === 2)?.content;
}
