import type { ingestion } from '@millrace/contracts';
import { allFeatures, double, entity, featureService, featureView, sliding, source, string } from '@millrace/sdk';
import { build } from 'hdr-histogram-js';
import { type FullMesh, readRequest, startFullMesh, stringKeys } from '../support/full-mesh.ts';

const clicks = source('clicks', { key: 'user', fields: { user: string(), amount: double() } });
const user = entity('user', { joinKeys: { user: 'STRING' } });
const activity = featureView('activity', {
  entity: user,
  source: clicks,
  features: (of) => ({
    count_1h: of.count({ window: sliding('1h') }),
    sum_24h: of.sum('amount', { window: sliding('24h') }),
  }),
});
const service = featureService('activity', { features: [allFeatures(activity)] });

const perSecond = 2_000;
const batchEvents = 20;
const warmUpS = 3;
const seconds = 15;
const entities = 5_000;

/**
 * Open loop: batches leave on a fixed schedule whatever came of the ones before. The time of a batch is from when it was due to leave
 * until online-serving answers with a row that reflects it, so a stall counts against every batch behind it.
 */
export async function run(): Promise<Record<string, Record<string, number>>> {
  const mesh = await startFullMesh();
  try {
    await mesh.apply(clicks, user, activity, service);
    await mesh.viewsReady(1);
    const histogram = build({
      lowestDiscernibleValue: 1,
      highestTrackableValue: 60_000_000,
      numberOfSignificantValueDigits: 3,
    });
    const everyMs = (1000 * batchEvents) / perSecond;
    const batches = Math.round(((warmUpS + seconds) * 1000) / everyMs);
    const startMs = performance.now() + 200;
    const pending: Promise<void>[] = [];
    for (let batch = 0; batch < batches; batch++) {
      const dueMs = startMs + batch * everyMs;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      const record =
        batch * everyMs >= warmUpS * 1000
          ? (ms: number) => histogram.recordValue(Math.max(1, Math.round(ms * 1000)))
          : () => {};
      pending.push(publishAndAwait(mesh, batch, dueMs, record));
    }
    await Promise.all(pending);
    return {
      'open-loop': {
        rate: perSecond,
        samples: histogram.totalCount,
        p50_ms: histogram.getValueAtPercentile(50) / 1000,
        p99_ms: histogram.getValueAtPercentile(99) / 1000,
      },
    };
  } finally {
    await mesh.close();
  }
}

async function publishAndAwait(
  mesh: FullMesh,
  batch: number,
  dueMs: number,
  record: (ms: number) => void,
): Promise<void> {
  const names = Array.from({ length: batchEvents }, (_, index) => `u${(batch * batchEvents + index) % entities}`);
  const nowUs = BigInt(Date.now()) * 1000n;
  const events: ingestion.Event[] = names.map((name, index) => ({
    id: `${batch}-${index}`,
    eventTimeUs: nowUs,
    json: Buffer.from(JSON.stringify({ user: name, amount: index })),
  }));
  const { position } = await mesh.clients.ingestion.publish({ source: 'clicks', events });
  const request = readRequest('activity', [stringKeys('user', names.slice(-1))], Date.now() * 1000 + 60_000_000);
  for (;;) {
    const { views } = await mesh.clients.features.getFeatures(request);
    if ((views[0]?.positions[0] ?? 0n) >= position) break;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  record(performance.now() - dueMs);
}
