import type { definitions } from '@millrace/contracts';
import { asOfName, compileExpression, derivedOf, type ViewDefinition } from '@millrace/features';
import { type Registered, type RegistrySnapshot, referenceName, shapeOf, targetsOf } from '@millrace/registry';

export type LineageNode = {
  readonly id: string;
  readonly kind: string;
  readonly name: string;
  readonly version: string;
  readonly detail: string;
};

export type LineageEdge = { readonly from: string; readonly to: string; readonly how: string };

/** Nodes and edges, each once. */
export class LineageGraph {
  readonly nodes = new Map<string, LineageNode>();
  readonly #edges = new Map<string, LineageEdge>();
  readonly #up = new Map<string, LineageEdge[]>();
  readonly #down = new Map<string, LineageEdge[]>();

  node(id: string, version: string, detail = ''): string {
    const colon = id.indexOf(':');
    const name = id.slice(colon + 1).split('@')[0] ?? '';
    if (!this.nodes.has(id)) this.nodes.set(id, { id, kind: id.slice(0, colon), name, version, detail });
    return id;
  }

  edge(from: string, to: string, how: string): void {
    const key = `${from}\n${to}\n${how}`;
    if (this.#edges.has(key)) return;
    const edge = { from, to, how };
    this.#edges.set(key, edge);
    push(this.#up, to, edge);
    push(this.#down, from, edge);
  }

  /** The edges into a node, or out of it. */
  edgesOf(id: string, direction: 'up' | 'down'): readonly LineageEdge[] {
    return (direction === 'up' ? this.#up : this.#down).get(id) ?? [];
  }
}

function push(map: Map<string, LineageEdge[]>, key: string, edge: LineageEdge): void {
  const known = map.get(key);
  if (known) known.push(edge);
  else map.set(key, [edge]);
}

/** Everything that is current, and the view versions that current feature services pin. */
export function lineageOf(snapshot: RegistrySnapshot): LineageGraph {
  const graph = new LineageGraph();
  for (const [name, source] of snapshot.sources) {
    const id = graph.node(`source:${name}`, source.version);
    for (const field of source.spec.fields)
      graph.edge(id, graph.node(`field:${name}.${field.name}`, source.version), 'has');
  }
  for (const view of snapshot.resolvedViews.values()) addView(graph, snapshot, view);
  for (const service of snapshot.services.values()) addService(graph, snapshot, service);
  for (const model of snapshot.models.values()) addModel(graph, snapshot, model);
  for (const [name, deployment] of snapshot.deployments) {
    const id = graph.node(`deployment:${name}`, deployment.version);
    for (const { target } of targetsOf(deployment.spec))
      graph.edge(versioned('model', target.model, target.modelVersion, snapshot.models), id, 'target');
  }
  return graph;
}

/** `kind:name`, with `@version` unless it is the current one. */
export function versioned(
  kind: string,
  name: string,
  version: string,
  current: ReadonlyMap<string, { readonly version: string }>,
): string {
  return version === '' || current.get(name)?.version === version ? `${kind}:${name}` : `${kind}:${name}@${version}`;
}

export function addService(
  graph: LineageGraph,
  snapshot: RegistrySnapshot,
  { name, version, spec }: Pick<Registered<definitions.FeatureService>, 'name' | 'version' | 'spec'>,
): void {
  const id = graph.node(versioned('feature_service', name, version, snapshot.services), version);
  const keys = new Set(spec.features.flatMap(({ through }) => through.map(({ from }) => from)));
  for (const reference of spec.features) {
    const node = featureNode(graph, snapshot, reference.view, reference.viewVersion, reference.feature);
    graph.edge(node, id, 'feature');
    if (keys.has(referenceName(reference))) graph.edge(node, id, 'lookup key');
  }
  if (spec.derived.length > 0) addDerived(graph, snapshot, name, version, spec, keys);
}

/** Features that a service derives hang between those that their expressions use and the service. */
function addDerived(
  graph: LineageGraph,
  snapshot: RegistrySnapshot,
  service: string,
  version: string,
  spec: definitions.FeatureService,
  keys: ReadonlySet<string>,
): void {
  const id = versioned('feature_service', service, version, snapshot.services);
  const ownNode = (kind: string, name: string) =>
    graph.node(id.replace('feature_service:', `${kind}:`).replace(service, `${service}.${name}`), version);
  const sources = new Map<string, string>();
  for (const { name } of spec.requestFields) sources.set(name, ownNode('request_field', name));
  for (const { name } of spec.derived) sources.set(name, ownNode('derived_feature', name));
  for (const reference of spec.features)
    sources.set(
      referenceName(reference),
      featureNode(graph, snapshot, reference.view, reference.viewVersion, reference.feature),
    );
  const { steps } = shapeOf(
    spec,
    (view, viewVersion) =>
      snapshot.resolvedViews.get(`${view}@${viewVersion || (snapshot.views.get(view)?.version ?? '')}`),
    () => undefined,
  );
  // those of the service come last, after those of its views
  for (const { name, expression } of steps.slice(-spec.derived.length)) {
    const node = sources.get(name);
    if (node === undefined) continue;
    for (const use of expression.uses) {
      const from = sources.get(use);
      if (from !== undefined) graph.edge(from, node, 'expression');
    }
    graph.edge(node, id, 'feature');
    if (keys.has(name)) graph.edge(node, id, 'lookup key');
  }
}

export function addModel(
  graph: LineageGraph,
  snapshot: RegistrySnapshot,
  { name, version, spec }: Pick<Registered<definitions.Model>, 'name' | 'version' | 'spec'>,
): void {
  const id = graph.node(versioned('model', name, version, snapshot.models), version);
  if (spec.featureService !== '') graph.edge(`feature_service:${spec.featureService}`, id, 'input');
  if (spec.outcome && spec.outcome.source !== '')
    graph.edge(
      graph.node(`source:${spec.outcome.source}`, snapshot.sources.get(spec.outcome.source)?.version ?? ''),
      id,
      'outcome',
    );
}

function addView(graph: LineageGraph, snapshot: RegistrySnapshot, view: ViewDefinition): void {
  const sourceVersion = snapshot.sources.get(view.source)?.version ?? '';
  const viewId = graph.node(versioned('feature_view', view.name, view.version, snapshot.views), view.version);
  graph.edge(graph.node(`source:${view.source}`, sourceVersion), viewId, 'source');
  const field = (name: string) => graph.node(`field:${view.source}.${name}`, sourceVersion);
  for (const feature of view.features) {
    const id = featureNode(graph, snapshot, view.name, view.version, feature.name);
    graph.edge(viewId, id, 'defines');
    const { field: given, filter, input = '' } = feature;
    if (given !== '' && input === '') graph.edge(field(given), id, 'input');
    for (const name of usedBy(input, view)) graph.edge(field(name), id, 'input');
    for (const name of usedBy(filter, view)) graph.edge(field(name), id, 'filter');
    for (const key of view.joinKeys) graph.edge(field(key.field), id, 'join key');
  }
  for (const { name, expression } of derivedOf(view)) {
    const id = featureNode(graph, snapshot, view.name, view.version, name);
    graph.edge(viewId, id, 'defines');
    for (const use of expression.uses)
      if (use !== asOfName) graph.edge(featureNode(graph, snapshot, view.name, view.version, use), id, 'expression');
  }
}

function featureNode(graph: LineageGraph, snapshot: RegistrySnapshot, view: string, version: string, feature: string) {
  const known = snapshot.views.get(view)?.version ?? '';
  return graph.node(versioned('feature', `${view}.${feature}`, version === known ? '' : version, new Map()), version);
}

/** The source's fields that an expression reads. */
function usedBy(expression: string, view: ViewDefinition): readonly string[] {
  return expression === '' ? [] : compileExpression(expression, view.fields).uses;
}
