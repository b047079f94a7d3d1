import { attributeOf, type OnnxNode } from './model.ts';
import { damaged } from './problems.ts';
import { attributeField } from './schema.ts';
import { floatsOf, readTensor } from './tensor.ts';
import { packedVarints, textOf } from './wire.ts';

/** What a node's attribute lists; undefined when it has no such attribute. Packed or not, as proto3 and proto2 write them. */
export function intsAttribute(node: OnnxNode, name: string): number[] | undefined {
  return attributeOf(node, name)
    ?.fields.filter(({ number }) => number === attributeField.ints)
    .flatMap(({ type, value, content }) => (type === 0 ? [value] : packedVarints(content)));
}

export function floatsAttribute(node: OnnxNode, name: string): Float32Array | undefined {
  const attribute = attributeOf(node, name);
  if (!attribute) return undefined;
  const tensor = attribute.fields.findLast(({ number }) => number === attributeField.t);
  if (tensor) return floatsOf(readTensor(tensor.content));
  const bytes = Uint8Array.from(
    Buffer.concat(
      attribute.fields.filter(({ number }) => number === attributeField.floats).map(({ content }) => content),
    ),
  );
  if (bytes.length % 4 !== 0) throw damaged(`its attribute "${name}" is no list of floats`);
  return new Float32Array(bytes.buffer, 0, bytes.length / 4);
}

export function stringsAttribute(node: OnnxNode, name: string): string[] | undefined {
  return attributeOf(node, name)
    ?.fields.filter(({ number }) => number === attributeField.strings)
    .map(({ content }) => new TextDecoder().decode(content));
}

export function textAttribute(node: OnnxNode, name: string, fallback: string): string {
  const attribute = attributeOf(node, name);
  return attribute ? textOf(attribute.fields, attributeField.s) : fallback;
}
