import { search } from '@millrace/contracts';
import { openHistory } from '@millrace/history';
import { connect } from '@millrace/rpc';
import { entity, feature, featureService, featureView, int64, lifetime, source, string, vector } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { type FullMesh, startFullMesh } from '../support/full-mesh.ts';
import type { BenchCases, BenchContext, BenchUsage } from './bench.ts';

const clusters = 1_000;
const k = 10;
const batchEvents = 500;

export const usage: BenchUsage = {
  options: {
    vectors: { default: 100_000, says: 'vectors published' },
    dimension: { default: 128, says: 'of a vector' },
    queries: { default: 100, says: 'searches of each kind' },
  },
};

/**
 * Vectors in clusters, published as events; then searches through online-serving, each exactly and by the index, with and without a filter that one
 * in a hundred fulfils. Recall is the share of the exact hits that the index's answer has. `--vectors N --dimension D --queries Q`.
 */
export async function run({ number, progress }: BenchContext): Promise<BenchCases> {
  const count = number('vectors');
  const dimension = number('dimension');
  const queries = number('queries');
  const mesh = await startFullMesh();
  try {
    const items = source('items', {
      key: 'item',
      fields: { item: string(), bucket: int64(), embedding: vector(dimension) },
    });
    const item = entity('item', { joinKeys: { item: 'STRING' } });
    const view = featureView('item_vectors', {
      entity: item,
      source: items,
      features: (of) => ({
        embedding: of.last('embedding', { window: lifetime() }),
        bucket: of.last('bucket', { window: lifetime() }),
      }),
    });
    const service = featureService('items', {
      features: [feature(view, 'embedding', { as: 'embedding' }), feature(view, 'bucket', { as: 'bucket' })],
    });
    await mesh.apply(items, item, view, service);
    await mesh.viewsReady(1);
    const random = randomOf(7);
    const centres = Array.from({ length: clusters }, () => gaussian(random, dimension));
    const point = (n: number) => gaussian(random, dimension).map((x, i) => x * 0.7 + (centres[n % clusters]?.[i] ?? 0));
    const startMs = performance.now();
    for (let n = 0; n < count; n += batchEvents) {
      await publish(mesh, n, Math.min(batchEvents, count - n), point);
      if (n % 20_000 === 0) progress(`${n} of ${count} vectors published`);
    }
    const publishedMs = performance.now();
    await indexed(mesh, count);
    const searchable = performance.now();
    const cases: Record<string, Record<string, number>> = {
      build: {
        vectors: count,
        dimension,
        publish_s: (publishedMs - startMs) / 1000,
        searchable_after_s: (searchable - publishedMs) / 1000,
        ...(await sizes(mesh)),
      },
    };
    const client = connect(search.SearchServiceService, mesh.service('online-serving').grpc, {
      defaultTimeoutMs: 60_000,
    });
    const asked = Array.from({ length: queries }, (_, n) => point(n * 7));
    const hits = async (query: number[], exact: boolean, filter: string) =>
      client.searchFeatures(
        search.SearchFeaturesRequest.fromPartial({
          featureService: 'items',
          feature: 'embedding',
          vector: query,
          k,
          exact,
          filter,
        }),
      );
    for (const [label, filter] of [
      ['all', ''],
      ['filter_1_percent', 'bucket == 0'],
    ] as const) {
      const truth: string[][] = [];
      for (const exact of [true, false]) {
        progress(`${queries} queries, ${label}, ${exact ? 'exact' : 'index'}`);
        await hits(asked[0] ?? [], exact, filter);
        const times: number[] = [];
        let found = 0;
        for (const [at, query] of asked.entries()) {
          const beforeMs = performance.now();
          const { keys } = await hits(query, exact, filter);
          times.push(performance.now() - beforeMs);
          const names = keys[0]?.strings ?? [];
          if (exact) truth.push(names);
          else found += names.filter((name) => truth[at]?.includes(name)).length / (truth[at]?.length ?? 1);
        }
        times.sort((x, y) => x - y);
        cases[`${label}/${exact ? 'exact' : 'index'}`] = {
          p50_ms: times[Math.floor(times.length * 0.5)] ?? 0,
          p99_ms: times[Math.floor(times.length * 0.99)] ?? 0,
          ...(exact ? {} : { recall_at_10: found / queries }),
        };
      }
    }
    client.close();
    return cases;
  } finally {
    await mesh.close();
  }
}

async function publish(mesh: FullMesh, from: number, count: number, point: (n: number) => number[]): Promise<void> {
  await mesh.clients.ingestion.publish({
    source: 'items',
    events: Array.from({ length: count }, (_, i) => {
      const n = from + i;
      const embedding = Buffer.from(Float32Array.from(point(n)).buffer).toString('base64');
      return {
        id: `v${n}`,
        eventTimeUs: BigInt(Date.now()) * 1000n,
        json: Buffer.from(JSON.stringify({ item: `item-${n}`, bucket: Math.floor(n / 7) % 100, embedding })),
      };
    }),
  });
}

/** Resolves when the table that is searched has them all. */
async function indexed(mesh: FullMesh, count: number): Promise<void> {
  const history = await openHistory({ url: mesh.stores.clickhouse.url });
  await eventually(
    async () => {
      const rows = await history.query<{ rows: string }>(
        "SELECT total_rows AS rows FROM system.tables WHERE database = currentDatabase() AND startsWith(name, 'vectors_')",
      );
      return Number(rows[0]?.rows ?? 0) >= count;
    },
    { timeoutMs: 240_000 },
  );
  await history.close();
}

async function sizes(mesh: FullMesh): Promise<Record<string, number>> {
  const history = await openHistory({ url: mesh.stores.clickhouse.url });
  const [row] = await history.query<{ stored: string; graph: string }>(
    "SELECT sum(data_compressed_bytes) AS stored, sum(secondary_indices_uncompressed_bytes) AS graph FROM system.parts WHERE active AND startsWith(table, 'vectors_')",
  );
  await history.close();
  return { table_mb: Number(row?.stored ?? 0) / 1e6, index_mb: Number(row?.graph ?? 0) / 1e6 };
}

/** Numbers from 0 to 1 (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function gaussian(random: () => number, dimension: number): number[] {
  return Array.from(
    { length: dimension },
    () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  );
}
