import { type Batching, batchingOf } from './batch-safety.ts';
import {
  allNodes,
  attributeOf,
  intAttribute,
  intValue,
  makeNode,
  type NamedContent,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  readModel,
  rewired,
  subgraphsOf,
} from './model.ts';
import { unsupported } from './problems.ts';
import { attributeField, dataType, mlDomain } from './schema.ts';
import { checkTensor } from './tensor.ts';
import { callerInputs, tensorValue, type ValueType, valueType } from './values.ts';
import { packedVarints, textsOf } from './wire.ts';
import { writeModel } from './write-model.ts';

/** What a model says of itself, and what was done so that it can be served. */
export interface ModelFacts {
  readonly irVersion: number;
  /** The version of each set of operators by domain; the standard one's domain is `ai.onnx`. */
  readonly opsets: Readonly<Record<string, number>>;
  /** What wrote the file, such as `skl2onnx` `1.20.0` or `pytorch` `2.9.0`; empty when it does not say. */
  readonly producer: string;
  readonly producerVersion: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** The classes of an output's columns, where a ZipMap named them. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
  /** What the normaliser changed, for people. */
  readonly changes: readonly string[];
  readonly batching: Batching;
}

export interface NormalisedModel {
  readonly bytes: Uint8Array;
  readonly facts: ModelFacts;
}

interface Edited {
  readonly graph: OnnxGraph;
  readonly changes: readonly string[];
  readonly labels: Readonly<Record<string, readonly string[]>>;
}

/** Larger files are none that protobuf can hold. */
const fileBytesMax = 2 ** 31;

/**
 * Makes a model one that onnxruntime-node can serve, under the names that it has: outputs of ZipMap become their tensor [rows, classes],
 * sequences of tensors one tensor, bfloat16 inputs and outputs float32, outputs said to have one row as many as the inputs have. The rest of the file is left as it is. MODEL_LOAD_FAILED,
 * with what to do, for files that are damaged, and for maps, optionals, sparse tensors and weights in other files.
 */
export function normaliseOnnx(bytes: Uint8Array): NormalisedModel {
  if (bytes.length >= fileBytesMax) throw unsupported('has 2 GiB or more', 'make it smaller, quantized for example');
  const model = readModel(bytes);
  checkWeights(model.graph);
  let edited: Edited = { graph: model.graph, changes: [], labels: {} };
  for (const edit of [dropZipMaps, joinSequences, castInputs, castOutputs, freeRows]) edited = edit(edited);
  const { graph, changes, labels } = edited;
  refuseOthers(graph);
  return {
    bytes: changes.length === 0 ? bytes : writeModel(model, { graph }),
    facts: { ...describe(model), labels, changes, batching: batchingOf({ ...model, graph }) },
  };
}

function describe(model: OnnxModel) {
  return {
    irVersion: model.irVersion,
    opsets: Object.fromEntries(model.opsets.map(({ domain, version }) => [domain || 'ai.onnx', version])),
    producer: model.producerName,
    producerVersion: model.producerVersion,
    metadata: Object.fromEntries(model.metadata.map(({ key, value }) => [key, value])),
  };
}

function checkWeights(graph: OnnxGraph): void {
  for (const { content } of graph.initializers) checkTensor(content);
  for (const _ of allNodes(graph));
}

function dropZipMaps({ graph, changes, labels }: Edited): Edited {
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  const zipMaps = graph.nodes.filter(
    ({ opType, domain, outputs: [output = ''] }) => opType === 'ZipMap' && domain === mlDomain && outputs.has(output),
  );
  const byOutput = new Map(zipMaps.map((node) => [node.outputs[0] ?? '', node]));
  return {
    graph: {
      ...graph,
      nodes: graph.nodes.map((node) => (zipMaps.includes(node) ? identityOf(node) : node)),
      outputs: graph.outputs.map((value) => {
        const node = byOutput.get(value.name);
        return node ? tensorValue(value.name, dataType.float, ['', labelsOf(node).length || '']) : value;
      }),
    },
    changes: [
      ...changes,
      ...[...byOutput.keys()].map((name) => `output "${name}" is a tensor instead of maps (ZipMap)`),
    ],
    labels: { ...labels, ...Object.fromEntries([...byOutput].map(([name, node]) => [name, labelsOf(node)])) },
  };
}

function identityOf({ inputs, outputs }: OnnxNode): OnnxNode {
  return makeNode({ opType: 'Identity', inputs, outputs, name: `${outputs[0]}_identity` });
}

function labelsOf(node: OnnxNode): readonly string[] {
  const texts = textsOf(attributeOf(node, 'classlabels_strings')?.fields ?? [], attributeField.strings);
  if (texts.length > 0) return texts;
  return (attributeOf(node, 'classlabels_int64s')?.fields ?? [])
    .filter(({ number }) => number === attributeField.ints)
    .flatMap(({ type, value, content }) => (type === 0 ? [value] : packedVarints(content)))
    .map(String);
}

/** A split sequence is joined where it was split; one that was made of tensors is stacked on axis 1, so that rows stay first. */
function joinSequences({ graph, changes, labels }: Edited): Edited {
  const added: OnnxNode[] = [];
  const renamed = new Map<string, string>();
  const outputs = graph.outputs.map((value) => {
    const type = valueType(value);
    if (type.t !== 'sequence' || !type.element) return value;
    const maker = graph.nodes.find((node) => node.outputs.includes(value.name));
    const sequence = freeName(graph, `${value.name}_sequence`);
    const how = joinOf(maker, value.name, type.element);
    renamed.set(value.name, sequence);
    added.push(
      makeNode({
        opType: 'ConcatFromSequence',
        inputs: [sequence],
        outputs: [value.name],
        name: `${value.name}_joined`,
        attributes: [intValue('axis', how.axis), intValue('new_axis', how.newAxis)],
      }),
    );
    return tensorValue(value.name, type.element.elemType);
  });
  if (added.length === 0) return { graph, changes, labels };
  return {
    graph: { ...renameAll(graph, renamed), outputs, nodes: [...renameAll(graph, renamed).nodes, ...added] },
    changes: [...changes, ...[...renamed.keys()].map((name) => `output "${name}" is one tensor instead of a sequence`)],
    labels,
  };
}

function joinOf(maker: OnnxNode | undefined, output: string, element: Extract<ValueType, { t: 'tensor' }>) {
  if (maker?.opType === 'SplitToSequence')
    return {
      axis: intAttribute(maker, 'axis', 0),
      newAxis: maker.inputs[1] ? 0 : 1 - intAttribute(maker, 'keepdims', 1),
    };
  if (maker?.opType === 'SequenceConstruct') return { axis: element.dims?.length === 0 ? 0 : 1, newAxis: 1 };
  throw unsupported(
    `has output "${output}", a sequence that ${maker ? `${maker.opType} makes` : 'no node of its graph makes'}`,
    'export it with tensors as outputs',
  );
}

function castInputs({ graph, changes, labels }: Edited): Edited {
  const given = new Set(callerInputs(graph));
  const casts: OnnxNode[] = [];
  const renamed = new Map<string, string>();
  const inputs = graph.inputs.map((value) => {
    const type = valueType(value);
    if (!given.has(value) || type.t !== 'tensor' || type.elemType !== dataType.bfloat16) return value;
    const inner = freeName(graph, `${value.name}_bfloat16`);
    renamed.set(value.name, inner);
    casts.push(cast(value.name, inner, dataType.bfloat16));
    return tensorValue(value.name, dataType.float, type.dims);
  });
  if (casts.length === 0) return { graph, changes, labels };
  return {
    graph: { ...renameAll(graph, renamed), inputs, nodes: [...casts, ...renameAll(graph, renamed).nodes] },
    changes: [...changes, ...[...renamed.keys()].map((name) => `input "${name}" is float32 instead of bfloat16`)],
    labels,
  };
}

function castOutputs({ graph, changes, labels }: Edited): Edited {
  const casts: OnnxNode[] = [];
  const renamed = new Map<string, string>();
  const outputs = graph.outputs.map((value) => {
    const type = valueType(value);
    if (type.t !== 'tensor' || type.elemType !== dataType.bfloat16) return value;
    const inner = freeName(graph, `${value.name}_bfloat16`);
    renamed.set(value.name, inner);
    casts.push(cast(inner, value.name, dataType.float));
    return tensorValue(value.name, dataType.float, type.dims);
  });
  if (casts.length === 0) return { graph, changes, labels };
  return {
    graph: { ...renameAll(graph, renamed), outputs, nodes: [...renameAll(graph, renamed).nodes, ...casts] },
    changes: [...changes, ...[...renamed.keys()].map((name) => `output "${name}" is float32 instead of bfloat16`)],
    labels,
  };
}

/**
 * onnxmltools says that the labels of a LightGBM classifier are one, whatever the rows: onnxruntime then writes a warning for each run of several, and no two requests could
 * share one. Whether the rows of an output are those of the inputs is measured when the model is loaded.
 */
function freeRows({ graph, changes, labels }: Edited): Edited {
  const rows = callerInputs(graph).map((value) => {
    const type = valueType(value);
    return type.t === 'tensor' ? type.dims?.[0] : undefined;
  });
  if (rows.length === 0 || rows.some((size) => typeof size !== 'string')) return { graph, changes, labels };
  const freed: string[] = [];
  const outputs = graph.outputs.map((value) => {
    const type = valueType(value);
    if (type.t !== 'tensor' || type.dims?.[0] !== 1) return value;
    freed.push(value.name);
    return tensorValue(value.name, type.elemType, ['', ...type.dims.slice(1)]);
  });
  if (freed.length === 0) return { graph, changes, labels };
  return {
    graph: { ...graph, outputs },
    changes: [...changes, ...freed.map((name) => `output "${name}" has as many rows as the inputs instead of one`)],
    labels,
  };
}

function cast(input: string, output: string, to: number): OnnxNode {
  return makeNode({
    opType: 'Cast',
    inputs: [input],
    outputs: [output],
    name: `${output}_cast`,
    attributes: [intValue('to', to)],
  });
}

/** Tensors of the graph under other names; not those that subgraphs take from outside. */
function renameAll(graph: OnnxGraph, renamed: ReadonlyMap<string, string>): OnnxGraph {
  const of = (name: string) => renamed.get(name) ?? name;
  return {
    ...graph,
    nodes: graph.nodes.map((node) => {
      for (const inner of subgraphsOf(node).flatMap((subgraph) => [...allNodes(subgraph)])) {
        const taken = inner.inputs.find((name) => renamed.has(name));
        if (taken !== undefined)
          throw unsupported(
            `uses "${taken}" within ${node.opType} "${node.name}"`,
            'export it with float32 tensors at its edges',
          );
      }
      const isTouched = [...node.inputs, ...node.outputs].some((name) => renamed.has(name));
      return isTouched ? rewired(node, { inputs: node.inputs.map(of), outputs: node.outputs.map(of) }) : node;
    }),
    valueInfos: graph.valueInfos.filter(({ name }) => !renamed.has(name)),
  };
}

function freeName(graph: OnnxGraph, wanted: string): string {
  const taken = new Set(graph.nodes.flatMap(({ inputs, outputs }) => [...inputs, ...outputs]));
  let name = wanted;
  for (let suffix = 1; taken.has(name); suffix++) name = `${wanted}_${suffix}`;
  return name;
}

function refuseOthers(graph: OnnxGraph): void {
  const refuse = (what: string, { name, type }: { name: string; type: ValueType }) => {
    const kind = { map: 'a map', optional: 'an optional', sparse: 'a sparse tensor', sequence: 'a sequence' } as const;
    if (type.t !== 'tensor' && type.t !== 'unknown')
      throw unsupported(
        `has ${what} "${name}", which is ${kind[type.t]}; only tensors are served`,
        what === 'input'
          ? 'export it with tensors as inputs (scikit-learn: columns instead of a DictVectorizer)'
          : 'export it with tensors as outputs',
      );
  };
  const typed = (value: NamedContent) => ({ name: value.name, type: valueType(value) });
  for (const input of callerInputs(graph)) refuse('input', typed(input));
  for (const output of graph.outputs) refuse('output', typed(output));
}
