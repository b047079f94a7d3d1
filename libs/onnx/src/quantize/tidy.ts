import { allNodes, type NamedContent, type OnnxGraph, type OnnxNode, subgraphsOf } from '../model.ts';
import { damaged } from '../problems.ts';

/** Without the initializers that nothing uses, and without the inputs that name them. */
export function withoutUnused(graph: OnnxGraph): OnnxGraph {
  const wanted = new Set([
    ...graph.nodes.flatMap(({ inputs }) => inputs),
    ...graph.nodes
      .flatMap(subgraphsOf)
      .flatMap((inner) => [
        ...inner.outputs.map(({ name }) => name),
        ...[...allNodes(inner)].flatMap(({ inputs }) => inputs),
      ]),
    ...graph.outputs.map(({ name }) => name),
  ]);
  for (const { outputs } of graph.nodes) for (const output of outputs) wanted.delete(output);
  const isUsed = ({ name }: NamedContent) => wanted.has(name);
  const unused = new Set(graph.initializers.filter((weight) => !isUsed(weight)).map(({ name }) => name));
  return {
    ...graph,
    initializers: graph.initializers.filter(isUsed),
    inputs: graph.inputs.filter(({ name }) => !unused.has(name)),
  };
}

/** Nodes after what they take, in the order that onnxruntime's `topological_sort` gives them. */
export function sorted(graph: OnnxGraph): OnnxGraph {
  const users = new Map<string, number[]>();
  const missing = graph.nodes.map(({ inputs }, at) => {
    const taken = inputs.filter((name) => name !== '');
    for (const name of taken) {
      const known = users.get(name);
      if (known) known.push(at);
      else users.set(name, [at]);
    }
    return taken.length;
  });
  const order: number[] = [];
  const settle = (name: string) => {
    for (const at of users.get(name) ?? []) {
      const left = (missing[at] ?? 0) - 1;
      missing[at] = left;
      if (left === 0) order.push(at);
    }
  };
  for (const [at, count] of missing.entries()) if (count === 0) order.push(at);
  const given = new Set([...graph.initializers, ...graph.inputs].map(({ name }) => name));
  for (const name of [...given].sort(byCodePoint)) settle(name);
  for (let next = 0; next < order.length; next++)
    for (const output of nodeAt(graph, order[next]).outputs) settle(output);
  if (order.length !== graph.nodes.length)
    throw damaged('its nodes depend on each other in a circle, or on what nothing gives');
  return { ...graph, nodes: order.map((at) => nodeAt(graph, at)) };
}

function nodeAt(graph: OnnxGraph, at: number | undefined): OnnxNode {
  const node = graph.nodes[at ?? -1];
  if (!node) throw damaged('a node of it is missing');
  return node;
}

function byCodePoint(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
