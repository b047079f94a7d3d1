import { damaged } from './problems.ts';
import { attributeField, attributeType, graphField, modelField, nodeField, opsetField } from './schema.ts';
import { delimited, fieldsOf, numberOf, textField, textOf, textsOf, varintField, type WireField } from './wire.ts';

export interface OnnxAttribute {
  readonly name: string;
  readonly type: number;
  readonly fields: readonly WireField[];
  readonly content: Uint8Array;
}

/** A node and the bytes that it is, which are what is written. */
export interface OnnxNode {
  readonly name: string;
  readonly opType: string;
  /** Empty for the standard operators. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly content: Uint8Array;
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  /** TensorProtos. */
  readonly initializers: readonly NamedContent[];
  /** ValueInfoProtos; inputs name initializers too in files of before IR version 4. */
  readonly inputs: readonly NamedContent[];
  readonly outputs: readonly NamedContent[];
  readonly valueInfos: readonly NamedContent[];
  /** All else, as it was read. */
  readonly rest: readonly WireField[];
}

export interface NamedContent {
  readonly name: string;
  readonly content: Uint8Array;
}

export interface Opset {
  /** Empty for the standard operators. */
  readonly domain: string;
  readonly version: number;
}

export interface OnnxModel {
  readonly irVersion: number;
  readonly producerName: string;
  readonly producerVersion: string;
  readonly opsets: readonly Opset[];
  readonly metadata: readonly { readonly key: string; readonly value: string }[];
  readonly graph: OnnxGraph;
  readonly fields: readonly WireField[];
}

/** Subgraphs of subgraphs (If, Loop, Scan) are followed so deep; protobuf itself ends at 100 messages. */
export const subgraphDepthMax = 16;

const nameOfTensor = 8;
const nameOfValue = 1;

/** MODEL_LOAD_FAILED when the bytes are no ONNX model. Weights are views, not copies. */
export function readModel(bytes: Uint8Array): OnnxModel {
  const fields = fieldsOf(bytes);
  const graph = fields.findLast(({ number, type }) => number === modelField.graph && type === 2);
  if (!graph) throw damaged('it has no graph');
  const messages = (number: number) =>
    fields.filter((field) => field.number === number).map(({ content }) => fieldsOf(content));
  return {
    irVersion: numberOf(fields, modelField.irVersion),
    producerName: textOf(fields, modelField.producerName),
    producerVersion: textOf(fields, modelField.producerVersion),
    opsets: messages(modelField.opsetImport).map((opset) => ({
      domain: normalDomain(textOf(opset, opsetField.domain)),
      version: numberOf(opset, opsetField.version),
    })),
    metadata: messages(modelField.metadataProps).map((entry) => ({ key: textOf(entry, 1), value: textOf(entry, 2) })),
    graph: readGraph(graph.content),
    fields,
  };
}

export function readGraph(content: Uint8Array): OnnxGraph {
  const fields = fieldsOf(content);
  const named = (number: number, nameField: number) =>
    fields
      .filter((field) => field.number === number)
      .map((field) => ({ name: nameIn(field.content, nameField), content: field.content }));
  const known: readonly number[] = [
    graphField.node,
    graphField.initializer,
    graphField.input,
    graphField.output,
    graphField.valueInfo,
  ];
  return {
    nodes: fields.filter(({ number }) => number === graphField.node).map((field) => readNode(field.content)),
    initializers: named(graphField.initializer, nameOfTensor),
    inputs: named(graphField.input, nameOfValue),
    outputs: named(graphField.output, nameOfValue),
    valueInfos: named(graphField.valueInfo, nameOfValue),
    rest: fields.filter(({ number }) => !known.includes(number)),
  };
}

function nameIn(content: Uint8Array, number: number): string {
  return textOf(fieldsOf(content), number);
}

export function readNode(content: Uint8Array): OnnxNode {
  const fields = fieldsOf(content);
  return {
    name: textOf(fields, nodeField.name),
    opType: textOf(fields, nodeField.opType),
    domain: normalDomain(textOf(fields, nodeField.domain)),
    inputs: textsOf(fields, nodeField.input),
    outputs: textsOf(fields, nodeField.output),
    content,
  };
}

export function attributesOf(node: OnnxNode): OnnxAttribute[] {
  return fieldsOf(node.content)
    .filter(({ number }) => number === nodeField.attribute)
    .map(({ content }) => {
      const fields = fieldsOf(content);
      return {
        name: textOf(fields, attributeField.name),
        type: numberOf(fields, attributeField.type),
        fields,
        content,
      };
    });
}

export function attributeOf(node: OnnxNode, name: string): OnnxAttribute | undefined {
  return attributesOf(node).find((attribute) => attribute.name === name);
}

export function intAttribute(node: OnnxNode, name: string, fallback: number): number {
  const attribute = attributeOf(node, name);
  return attribute ? numberOf(attribute.fields, attributeField.i) : fallback;
}

export function floatAttribute(node: OnnxNode, name: string, fallback: number): number {
  const content = attributeOf(node, name)?.fields.findLast(({ number }) => number === attributeField.f)?.content;
  return content ? new DataView(content.buffer, content.byteOffset, 4).getFloat32(0, true) : fallback;
}

/** The graphs that a node has in its attributes: branches of If, bodies of Loop and Scan. */
export function subgraphsOf(node: OnnxNode): OnnxGraph[] {
  return attributesOf(node)
    .filter(({ type }) => type === attributeType.graph || type === attributeType.graphs)
    .flatMap(({ fields }) =>
      fields
        .filter(({ number }) => number === attributeField.g || number === attributeField.graphs)
        .map(({ content }) => readGraph(content)),
    );
}

/** Every node, those of subgraphs too. */
export function* allNodes(graph: OnnxGraph, depth = 0): Generator<OnnxNode> {
  if (depth > subgraphDepthMax) throw damaged(`its graphs are nested deeper than ${subgraphDepthMax}`);
  for (const node of graph.nodes) {
    yield node;
    for (const subgraph of subgraphsOf(node)) yield* allNodes(subgraph, depth + 1);
  }
}

function normalDomain(domain: string): string {
  return domain === 'ai.onnx' ? '' : domain;
}

export interface NewNode {
  readonly opType: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly name?: string;
  readonly domain?: string;
  /** AttributeProtos. */
  readonly attributes?: readonly Uint8Array[];
}

export function makeNode({ opType, inputs, outputs, name = '', domain = '', attributes = [] }: NewNode): OnnxNode {
  const content = Buffer.concat([
    ...inputs.map((input) => textField(nodeField.input, input)),
    ...outputs.map((output) => textField(nodeField.output, output)),
    ...(name === '' ? [] : [textField(nodeField.name, name)]),
    textField(nodeField.opType, opType),
    ...attributes.map((attribute) => delimited(nodeField.attribute, attribute)),
    ...(domain === '' ? [] : [textField(nodeField.domain, domain)]),
  ]);
  return { name, opType, domain, inputs, outputs, content };
}

export function intValue(name: string, value: number): Buffer {
  return Buffer.concat([
    textField(attributeField.name, name),
    varintField(attributeField.i, value),
    varintField(attributeField.type, attributeType.int),
  ]);
}

export function intsValue(name: string, values: readonly number[]): Buffer {
  return Buffer.concat([
    textField(attributeField.name, name),
    ...values.map((value) => varintField(attributeField.ints, value)),
    varintField(attributeField.type, attributeType.ints),
  ]);
}

/** The same node with other tensors; all else of it stays. */
export function rewired(
  node: OnnxNode,
  tensors: { readonly inputs?: readonly string[]; readonly outputs?: readonly string[] },
): OnnxNode {
  const { inputs = node.inputs, outputs = node.outputs } = tensors;
  const rest = fieldsOf(node.content).filter(({ number }) => number !== nodeField.input && number !== nodeField.output);
  const content = Buffer.concat([
    ...inputs.map((input) => textField(nodeField.input, input)),
    ...outputs.map((output) => textField(nodeField.output, output)),
    ...rest.map(({ raw }) => raw),
  ]);
  return { ...node, inputs, outputs, content };
}
