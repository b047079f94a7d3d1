import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { definitions, loads, registry } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { eventually } from '@millrace/testkit';
import { service } from '../../integration/serving-world.ts';
import { column, type FullMesh, readRequest, startFullMesh } from '../../support/full-mesh.ts';
import { entityDefinition, featureNames, perView, valueFor, viewDefinitions } from '../feast/data.ts';
import { int64Keys } from './keys.ts';
import { type Metrics, peakRssMb, round2, type WorkloadContext } from './workload.ts';

const entities = 100_000;
const names = featureNames(perView);
const waitMs = 600_000;

/** The source of the file, whose rows say when they happened. */
function ordersSource(): definitions.Definition {
  const [source] = viewDefinitions('any', 'orders', names);
  if (source?.spec?.$case !== 'source') throw new Error('a source is a source');
  const at = definitions.SourceField.fromPartial({ name: 'at', type: definitions.FieldType.TIMESTAMP });
  const { value } = source.spec;
  const spec = { ...source.spec, value: { ...value, fields: [...value.fields, at], eventTimeField: 'at' } };
  return { ...source, spec };
}

const viewAndService = (name: string): definitions.Definition[] => [
  ...viewDefinitions(name, 'orders', names).slice(1),
  service(
    name,
    names.map((feature) => ({ view: name, feature })),
  ),
];

async function apply(mesh: FullMesh, ...defined: readonly definitions.Definition[]): Promise<void> {
  await mesh.clients.registry.apply(registry.ApplyRequest.fromPartial({ definitions: defined as never }) as never);
}

/**
 * W6: a Parquet file of rows × 10 int64 features of 100,000 entities until all of it is in Redis, through ingestion, JetStream and
 * feature-compute (`rows_per_s`); and a new view over the history that this left in ClickHouse until it is ready (`warm_rows_per_s`).
 */
export async function measureMaterialise({ rows, progress, signal }: WorkloadContext): Promise<Metrics> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const mesh = await startFullMesh({
    env: { MILLRACE_LOG_LEVEL: 'warn', MILLRACE_INGESTION_LOAD_FOLDERS: folder },
    historyNice: 10,
  });
  try {
    await apply(mesh, entityDefinition, ordersSource(), ...viewAndService('loaded'));
    await mesh.viewsReady(1);
    progress(`W6: writing a Parquet file of ${rows} rows`);
    const file = join(folder, 'orders.parquet');
    writeFileSync(file, await parquet(mesh, rows));
    const loadS = await load(mesh, file, rows);
    await checkRows(mesh, 'loaded', rows);
    const loaded = { compute: peakOf(mesh, 'feature-compute'), ingestion: peakOf(mesh, 'ingestion') };
    progress(`W6: loaded in ${round2(loadS)} s; waiting for history`);
    await eventually(async () => (await inHistory(mesh)) === rows, { timeoutMs: waitMs, everyMs: 200 });
    signal.throwIfAborted();
    const startedMs = performance.now();
    await apply(mesh, ...viewAndService('warmed'));
    await eventually(
      async () => (await mesh.clients.compute.getStatus({})).views.some((v) => v.view === 'warmed' && v.state === 2),
      { timeoutMs: waitMs, everyMs: 50 },
    );
    const warmS = (performance.now() - startedMs) / 1000;
    await checkRows(mesh, 'warmed', rows);
    return {
      rows,
      entities: Math.min(rows, entities),
      rows_per_s: Math.round(rows / loadS),
      peak_rss_mb: loaded.compute,
      ingestion_peak_rss_mb: loaded.ingestion,
      load_s: round2(loadS),
      warm_rows_per_s: Math.round(rows / warmS),
      warm_peak_rss_mb: peakOf(mesh, 'feature-compute'),
      warm_s: round2(warmS),
    };
  } finally {
    await mesh.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

const peakOf = (mesh: FullMesh, name: 'feature-compute' | 'ingestion') => peakRssMb(mesh.service(name).pid);

/** Row n is of entity n % 100,000, and later than the rows before it. */
async function parquet(mesh: FullMesh, rows: number): Promise<Uint8Array> {
  const values = names.map((name, f) => `toInt64((number * 7919 + ${f} * 104729) % 10000) AS ${name}`).join(', ');
  const at = "toDateTime64('2026-01-01 00:00:00', 6, 'UTC') + toIntervalMillisecond(number)";
  const query = `SELECT toInt64(number % ${entities}) AS entity, ${at} AS at, ${values} FROM numbers(${rows}) FORMAT Parquet`;
  return new Uint8Array(await (await ask(mesh, query)).arrayBuffer());
}

async function inHistory(mesh: FullMesh): Promise<number> {
  return Number(await (await ask(mesh, 'SELECT count() FROM millrace.events_orders')).text());
}

async function ask(mesh: FullMesh, query: string): Promise<Response> {
  const response = await fetch(mesh.stores.clickhouse.url, { method: 'POST', body: query });
  if (!response.ok) throw new Error(await response.text());
  return response;
}

/** Seconds until every row is in Redis. */
async function load(mesh: FullMesh, location: string, rows: number): Promise<number> {
  const client = connect(loads.LoadServiceService, mesh.service('ingestion').grpc, { defaultTimeoutMs: 20_000 });
  try {
    const startedMs = performance.now();
    const { load: started } = await client.startLoad(
      loads.StartLoadRequest.fromPartial({ source: 'orders', location }),
    );
    const done = await eventually(
      async () => {
        const { load: now } = await client.getLoad({ loadId: started?.loadId ?? '' });
        return now !== undefined && now.state > loads.LoadState.RUNNING && now;
      },
      { timeoutMs: waitMs, everyMs: 50 },
    );
    if (Number(done.accepted) !== rows) throw new Error(`${done.accepted} of ${rows} rows: ${done.message}`);
    await eventually(
      async () => {
        const { rowPosition, streamPosition } = await mesh.clients.compute.getStatus({});
        return rowPosition >= streamPosition;
      },
      { timeoutMs: waitMs, everyMs: 20 },
    );
    return (performance.now() - startedMs) / 1000;
  } finally {
    client.close();
  }
}

/** Throws unless a thousand entities from all over have the values of their last rows. */
async function checkRows(mesh: FullMesh, view: string, rows: number): Promise<void> {
  const known = Math.min(rows, entities);
  const keys = Array.from({ length: 1000 }, (_, i) => (i * 7_919) % known);
  const request = readRequest(view, [int64Keys('entity', keys)], 0);
  const answer = await eventually(async () => mesh.clients.features.getFeatures(request), { timeoutMs: 30_000 });
  for (const [f, name] of names.entries()) {
    const values = column(answer, `${view}__${name}`);
    for (const [row, key] of keys.entries()) {
      const last = key + Math.floor((rows - 1 - key) / entities) * entities;
      if (values[row] !== valueFor(last, f)) throw new Error(`${name} of ${key} is ${values[row]}, in ${view}`);
    }
  }
}
