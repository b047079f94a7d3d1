import type { NamedContent, OnnxGraph, OnnxModel } from './model.ts';
import { graphField, modelField, opsetField } from './schema.ts';
import { delimited, textField, varintField } from './wire.ts';

/** What of a model is written anew; all else is written as it was read. */
export type ModelChanges = Partial<
  Pick<OnnxModel, 'graph' | 'irVersion' | 'producerName' | 'producerVersion' | 'opsets' | 'metadata'>
>;

interface Part {
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** The bytes of a model: its fields in the order of their numbers, as protobuf writes them. */
export function writeModel(model: OnnxModel, changes: ModelChanges): Uint8Array {
  const { irVersion, producerName, producerVersion, opsets, metadata, graph } = changes;
  const changed: Part[] = [];
  const change = (number: number, ...bytes: readonly Uint8Array[]) =>
    changed.push(
      ...(bytes.length === 0 ? [{ number, bytes: new Uint8Array(0) }] : bytes.map((one) => ({ number, bytes: one }))),
    );
  if (irVersion !== undefined) change(modelField.irVersion, varintField(modelField.irVersion, irVersion));
  if (producerName !== undefined) change(modelField.producerName, textField(modelField.producerName, producerName));
  if (producerVersion !== undefined)
    change(modelField.producerVersion, textField(modelField.producerVersion, producerVersion));
  if (graph) change(modelField.graph, delimited(modelField.graph, writeGraph(graph)));
  if (opsets)
    change(
      modelField.opsetImport,
      ...opsets.map(({ domain, version }) =>
        delimited(
          modelField.opsetImport,
          Buffer.concat([textField(opsetField.domain, domain), varintField(opsetField.version, version)]),
        ),
      ),
    );
  if (metadata)
    change(
      modelField.metadataProps,
      ...metadata.map(({ key, value }) =>
        delimited(modelField.metadataProps, Buffer.concat([textField(1, key), textField(2, value)])),
      ),
    );
  const replaced = new Set(changed.map(({ number }) => number));
  const kept = model.fields
    .filter(({ number }) => !replaced.has(number))
    .map(({ number, raw }) => ({ number, bytes: raw }));
  return joined([...kept, ...changed]);
}

export function writeGraph(graph: OnnxGraph): Uint8Array {
  const parts = (number: number, of: readonly { readonly content: Uint8Array }[]) =>
    of.map(({ content }) => ({ number, bytes: delimited(number, content) }));
  return joined([
    ...parts(graphField.node, graph.nodes),
    ...parts(graphField.initializer, graph.initializers),
    ...parts(graphField.input, graph.inputs),
    ...parts(graphField.output, graph.outputs),
    ...parts(graphField.valueInfo, graph.valueInfos),
    ...graph.rest.map(({ number, raw }) => ({ number, bytes: raw })),
  ]);
}

function joined(parts: readonly Part[]): Uint8Array {
  return Buffer.concat(parts.toSorted((a, b) => a.number - b.number).map(({ bytes }) => bytes));
}

export function named(name: string, content: Uint8Array): NamedContent {
  return { name, content };
}
