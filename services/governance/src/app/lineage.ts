import type { definitions } from '@millrace/contracts';
import { MeshError, toMeshError } from '@millrace/kernel';
import type { Registered, RegistrySnapshot } from '@millrace/registry';
import {
  addModel,
  addService,
  type LineageEdge,
  type LineageGraph,
  type LineageNode,
  lineageOf,
  versioned,
} from '../domain/lineage-graph.ts';
import type { Registry } from './registry.ts';

/** Predictions of one model version fed by one feature service version. */
export type PredictionGroup = {
  readonly deployment: string;
  readonly model: string;
  readonly modelVersion: string;
  readonly featureService: string;
  readonly featureServiceVersion: string;
  readonly count: number;
  readonly firstUs: number;
  readonly lastUs: number;
};

/** What model-inference has logged. */
export interface PredictionLog {
  groups(): Promise<readonly PredictionGroup[]>;
  /** The group of one prediction; undefined when there is no such prediction. */
  find(predictionId: string): Promise<PredictionGroup | undefined>;
}

export type LineageQuestion = {
  readonly node: string;
  readonly directions: readonly ('up' | 'down')[];
  readonly depth: number;
};

export type Lineage = {
  readonly node: LineageNode;
  readonly nodes: readonly LineageNode[];
  readonly edges: readonly LineageEdge[];
  readonly truncated: boolean;
  readonly notes: readonly string[];
};

export type GetLineage = (question: LineageQuestion) => Promise<Lineage>;

const nodesMax = 10_000;
const candidatesListed = 20;

export function createGetLineage(deps: {
  readonly registry: Pick<Registry, 'read' | 'get'>;
  readonly predictions: PredictionLog;
}): GetLineage {
  const { registry, predictions } = deps;

  /** A version of before that predictions were made by; nothing when the registry has let it go. */
  async function addVersion(
    graph: LineageGraph,
    snapshot: RegistrySnapshot,
    kind: 'model' | 'feature_service',
    name: string,
    version: string,
  ): Promise<string> {
    const id = versioned(kind, name, version, kind === 'model' ? snapshot.models : snapshot.services);
    if (graph.nodes.has(id)) return id;
    graph.node(id, version);
    const found = await registry.get(kind, name, version);
    if (found === undefined) return id;
    if (kind === 'model') addModel(graph, snapshot, specOf<definitions.Model>(found));
    else addService(graph, snapshot, specOf<definitions.FeatureService>(found));
    return id;
  }

  async function addGroup(graph: LineageGraph, snapshot: RegistrySnapshot, group: PredictionGroup, id: string) {
    graph.edge(await addVersion(graph, snapshot, 'model', group.model, group.modelVersion), id, 'model');
    if (group.featureService !== '') {
      const { featureService, featureServiceVersion } = group;
      const service = await addVersion(graph, snapshot, 'feature_service', featureService, featureServiceVersion);
      graph.edge(service, id, 'features');
    }
    if (group.deployment !== '')
      graph.edge(
        graph.node(`deployment:${group.deployment}`, snapshot.deployments.get(group.deployment)?.version ?? ''),
        id,
        'deployment',
      );
  }

  async function addPredictions(graph: LineageGraph, snapshot: RegistrySnapshot, asked: string): Promise<void> {
    for (const group of await predictions.groups()) {
      const versions = `${group.modelVersion}, ${group.featureServiceVersion}, ${group.deployment}`;
      const detail = `${group.count} predictions from ${time(group.firstUs)} to ${time(group.lastUs)}`;
      await addGroup(
        graph,
        snapshot,
        group,
        graph.node(`predictions:${group.model} (${versions})`, group.modelVersion, detail),
      );
    }
    if (!asked.startsWith('prediction:')) return;
    const found = await predictions.find(asked.slice('prediction:'.length));
    if (found === undefined) return;
    await addGroup(graph, snapshot, found, graph.node(asked, found.modelVersion, `made ${time(found.firstUs)}`));
  }

  return async ({ node: asked, directions, depth }) => {
    const { snapshot } = await registry.read();
    const graph = lineageOf(snapshot);
    const notes: string[] = [];
    await addPredictions(graph, snapshot, asked).catch((thrown) => {
      notes.push(`predictions could not be looked at: ${toMeshError(thrown).message}`);
    });
    const node = resolve(graph, asked, notes);
    const nodes = new Map([[node.id, node]]);
    const edges = new Set<LineageEdge>();
    let truncated = false;
    for (const direction of directions) truncated = follow(graph, node.id, direction, depth, nodes, edges) || truncated;
    return { node, nodes: [...nodes.values()], edges: [...edges], truncated, notes };
  };
}

function specOf<S>(found: Registered<unknown>): Registered<S> {
  const spec = found.spec as { readonly value?: S };
  return { ...found, spec: (spec.value ?? found.spec) as S };
}

/** Breadth first. True when something was left out. */
function follow(
  graph: LineageGraph,
  start: string,
  direction: 'up' | 'down',
  depth: number,
  nodes: Map<string, LineageNode>,
  edges: Set<LineageEdge>,
): boolean {
  let layer = [start];
  const seen = new Set(layer);
  for (let step = 0; layer.length > 0; step++) {
    const next: string[] = [];
    for (const id of layer) {
      for (const edge of graph.edgesOf(id, direction)) {
        if (step >= depth || nodes.size >= nodesMax) return true;
        edges.add(edge);
        const other = direction === 'up' ? edge.from : edge.to;
        if (seen.has(other)) continue;
        seen.add(other);
        next.push(other);
        const found = graph.nodes.get(other);
        if (found) nodes.set(other, found);
      }
    }
    layer = next;
  }
  return false;
}

function resolve(graph: LineageGraph, asked: string, notes: readonly string[]): LineageNode {
  const found = graph.nodes.get(asked);
  if (found) return found;
  const named = [...graph.nodes.values()].filter(({ name, id }) => name === asked && !id.includes('@'));
  const [only] = named;
  if (only && named.length === 1) return only;
  if (named.length > 1) {
    const ids = named.map(({ id }) => id).slice(0, candidatesListed);
    throw new MeshError('INVALID_ARGUMENT', `"${asked}" may be ${ids.join(' or ')}; ask for one of them`, {
      node: asked,
    });
  }
  const [kind = '', name = ''] = asked.includes(':') ? asked.split(':', 2) : ['', asked];
  const alike = [...graph.nodes.values()]
    .filter((node) => (kind === '' || node.kind === kind) && node.name.includes(name.split('.').at(-1) ?? name))
    .map(({ id }) => id);
  const hint =
    alike.length > 0 ? `; did you mean ${alike.slice(0, 5).join(', ')}` : '; millrace list shows what there is';
  throw new MeshError(
    'UNKNOWN_DEFINITION',
    `lineage knows no "${asked}"${hint}${notes.map((note) => ` (${note})`).join('')}`,
    {
      node: asked,
    },
  );
}

function time(us: number): string {
  return new Date(us / 1000).toISOString();
}
