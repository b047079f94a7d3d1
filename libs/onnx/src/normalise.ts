import { delimited, fieldsOf, textField, textOf, type WireField } from './wire.ts';

// field numbers of onnx.proto
const graphOfModel = 7;
const graph = { node: 1, output: 12 } as const;
const node = { input: 1, output: 2, name: 3, opType: 4 } as const;
const valueInfo = { name: 1, type: 2 } as const;

/**
 * Default exports of scikit-learn and LightGBM end in a ZipMap, whose sequence of maps onnxruntime-node cannot give. The node becomes an
 * Identity of the tensor that it took, under the same output name: clients read [rows, classes] floats. Anything else is left as it is.
 */
export function normaliseOnnx(bytes: Uint8Array): Uint8Array {
  const model = fieldsOf(bytes);
  const graphField = model.find(({ number }) => number === graphOfModel);
  if (!graphField) return bytes;
  const fields = fieldsOf(graphField.content);
  const zipMaps = new Map(
    fields
      .filter(({ number }) => number === graph.node)
      .map((field) => ({ field, parts: fieldsOf(field.content) }))
      .filter(({ parts }) => textOf(parts, node.opType) === 'ZipMap')
      .map(({ field, parts }) => [field, { input: textOf(parts, node.input), output: textOf(parts, node.output) }]),
  );
  if (zipMaps.size === 0) return bytes;
  const outputs = new Set([...zipMaps.values()].map(({ output }) => output));
  const edited = fields.map((field) => editField(field, zipMaps.get(field), outputs));
  return Buffer.concat(
    model.map((field) => (field === graphField ? delimited(graphOfModel, Buffer.concat(edited)) : field.raw)),
  );
}

function editField(
  field: WireField,
  zipMap: { readonly input: string; readonly output: string } | undefined,
  outputs: ReadonlySet<string>,
): Uint8Array {
  if (zipMap) {
    const { input, output } = zipMap;
    return delimited(
      graph.node,
      Buffer.concat([
        textField(node.input, input),
        textField(node.output, output),
        textField(node.name, `${output}_identity`),
        textField(node.opType, 'Identity'),
      ]),
    );
  }
  if (field.number === graph.output) {
    const name = textOf(fieldsOf(field.content), valueInfo.name);
    // TypeProto { tensor_type (1) { elem_type (1): FLOAT } }
    if (outputs.has(name))
      return delimited(
        graph.output,
        Buffer.concat([
          textField(valueInfo.name, name),
          delimited(valueInfo.type, delimited(1, Buffer.from([0x08, 0x01]))),
        ]),
      );
  }
  return field.raw;
}
