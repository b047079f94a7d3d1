import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compute, definitions, registry, serving } from '@millrace/contracts';
import { eventually } from '@millrace/testkit';
import { service } from '../../integration/serving-world.ts';
import { type FullMesh, readRequest, startFullMesh } from '../../support/full-mesh.ts';
import { entityDefinition, featureNames, perView, viewDefinitions } from '../feast/data.ts';
import { method, round3, runClient } from '../serving-load.ts';
import { int64Keys } from './keys.ts';
import type { Load } from './reads.ts';
import { type Metrics, named, peakRssMb, round2, sleep, type WorkloadContext } from './workload.ts';

const viewsOfSource = 50;
const viewsOfService = 5;
const entities = 1000;
const seconds = 3;
const changes = 3;
const names = featureNames(perView);

/**
 * W11: a mesh with ever more views of 10 features, 50 to a source. `p50_ms` of reading 50 features of an entity; `apply_to_served_s` from
 * when a view that gets one more feature is applied, with the service that reads it, until an answer has it: the new version of the view is
 * filled from history on the way. `apply_s` is that apply alone, `ready_s` from when the views of this size were applied until all are ready.
 */
export async function measureRegistryScale({ views, progress, signal }: WorkloadContext): Promise<Metrics> {
  const mesh = await startFullMesh({ env: { MILLRACE_LOG_LEVEL: 'warn' }, historyNice: 10 });
  try {
    let metrics: Metrics = {};
    let known = 0;
    for (const count of views) {
      signal.throwIfAborted();
      progress(`W11: from ${known} to ${count} views`);
      const startedMs = performance.now();
      await apply(
        mesh,
        known === 0 ? [entityDefinition, ...viewsBetween(0, count), serviceOf()] : viewsBetween(known, count),
      );
      const appliedS = (performance.now() - startedMs) / 1000;
      progress(`W11: applied in ${round2(appliedS)} s`);
      await eventually(async () => (await readyViews(mesh)) >= count, { timeoutMs: 600_000, everyMs: 250 });
      const readyS = (performance.now() - startedMs) / 1000;
      if (known === 0) await publish(mesh);
      known = count;
      const { p50_ms: p50Ms } = await read(mesh);
      const served: { readonly appliedS: number; readonly servedS: number }[] = [];
      for (let change = 0; change < changes; change++) served.push(await changeView(mesh, `extra_${count}_${change}`));
      const middle = served.toSorted((a, b) => a.servedS - b.servedS)[changes >> 1];
      const measured = {
        p50_ms: round3(p50Ms),
        apply_to_served_s: round2(middle?.servedS ?? Number.NaN),
        apply_s: round2(middle?.appliedS ?? Number.NaN),
        ready_s: round2(readyS),
        governance_rss_mb: peakRssMb(mesh.service('governance').pid),
        compute_rss_mb: peakRssMb(mesh.service('feature-compute').pid),
        serving_rss_mb: peakRssMb(mesh.service('online-serving').pid),
      };
      progress(`W11 ${count} views: ${JSON.stringify(measured)}`);
      metrics = { ...metrics, ...named(measured, `${count}_views`) };
    }
    return metrics;
  } finally {
    await mesh.close();
  }
}

/** And the sources of which they are the first views. */
function viewsBetween(from: number, to: number): definitions.Definition[] {
  return Array.from({ length: to - from }, (_, i) => from + i).flatMap((v) => {
    const both = viewDefinitions(`view_${v}`, `source_${Math.floor(v / viewsOfSource)}`, names);
    return v % viewsOfSource === 0 ? both : both.slice(1);
  });
}

function serviceOf(extra?: string): definitions.Definition {
  const references = Array.from({ length: viewsOfService }, (_, v) =>
    names.map((feature) => ({ view: `view_${v}`, feature })),
  ).flat();
  return service('fifty', extra === undefined ? references : [...references, { view: 'view_0', feature: extra }]);
}

async function apply(mesh: FullMesh, defined: readonly definitions.Definition[]): Promise<void> {
  const request = registry.ApplyRequest.fromPartial({ definitions: defined as never, allowBreaking: true });
  await mesh.clients.registry.apply(request as never, { timeoutMs: 120_000 });
}

async function readyViews(mesh: FullMesh): Promise<number> {
  const { views } = await mesh.clients.compute.getStatus({});
  return views.filter(({ state }) => state === compute.ViewState.READY).length;
}

async function publish(mesh: FullMesh): Promise<void> {
  const events = Array.from({ length: entities }, (_, key) => ({
    id: `entity-${key}`,
    eventTimeUs: BigInt(Date.now()) * 1000n,
    json: Buffer.from(JSON.stringify({ entity: key, ...Object.fromEntries(names.map((name, f) => [name, key + f])) })),
  }));
  const { position } = await mesh.clients.ingestion.publish({ source: 'source_0', events });
  await eventually(async () => (await mesh.clients.compute.getStatus({})).rowPosition >= position, {
    timeoutMs: 60_000,
  });
}

const readOne = () => readRequest('fifty', [int64Keys('entity', [17])], 0);

async function read(mesh: FullMesh): Promise<Load> {
  const request = { ...readOne(), omitMetadata: true };
  const answer = await mesh.clients.features.getFeatures(request);
  const present = answer.statuses.filter((status) => status === serving.ValueStatus.PRESENT).length;
  if (present < viewsOfService * perView) throw new Error(`${present} of ${answer.statuses.length} values are there`);
  const file = join(mesh.dir, 'fifty.request');
  writeFileSync(file, serving.GetFeaturesRequest.encode(request).finish());
  const bytes = serving.GetFeaturesResponse.encode(answer).finish().length;
  const address = mesh.service('online-serving').grpc;
  const load = await runClient<Load>('lean-client.ts', [address, method, file, 1, 1, seconds, bytes]);
  if (load.errors > 0) throw new Error(`${load.errors} reads failed`);
  return load;
}

/** Adds a feature to a view of the service and waits for an answer with its value. */
async function changeView(mesh: FullMesh, feature: string): Promise<{ appliedS: number; servedS: number }> {
  const [, view] = viewDefinitions('view_0', 'source_0', names);
  if (view?.spec?.$case !== 'featureView') throw new Error('a view is a view');
  const window = { kind: { $case: 'lifetime' as const, value: {} } };
  const counted = definitions.AggregatedFeature.fromPartial({
    name: feature,
    function: definitions.AggregationFunction.COUNT,
    window,
  });
  const { value } = view.spec;
  const changed = { ...view, spec: { ...view.spec, value: { ...value, features: [...value.features, counted] } } };
  const startedMs = performance.now();
  await apply(mesh, [changed, serviceOf(feature)]);
  const appliedS = (performance.now() - startedMs) / 1000;
  await eventually(
    async () => {
      const { features, statuses } = await mesh.clients.features.getFeatures(readOne());
      const at = features.findIndex(({ name }) => name === `view_0__${feature}`);
      return at >= 0 && statuses[at] === serving.ValueStatus.PRESENT;
    },
    { timeoutMs: 120_000, everyMs: 5 },
  );
  const servedS = (performance.now() - startedMs) / 1000;
  await sleep(500);
  return { appliedS, servedS };
}
