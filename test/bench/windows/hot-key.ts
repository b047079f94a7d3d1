import type { ingestion } from '@millrace/contracts';
import { entityKey, openRedis } from '@millrace/hot';
import { allFeatures, double, entity, featureService, featureView, sliding, source, string } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { build } from 'hdr-histogram-js';
import { column, type FullMesh, readRequest, stringKeys } from '../../support/full-mesh.ts';

const sensor = source('sensors', { key: 'id', fields: { id: string(), value: double() } });
const device = entity('device', { joinKeys: { id: 'STRING' } });
const window = sliding('12h');
const view = featureView('readings', {
  entity: device,
  source: sensor,
  features: (of) => ({
    count: of.count({ window }),
    sum: of.sum('value', { window }),
    mean: of.mean('value', { window }),
    min: of.min('value', { window }),
    max: of.max('value', { window }),
    last: of.last('value', { window }),
    distinct: of.distinct('value', { window }),
    p95: of.percentile('value', { window, quantile: 0.95 }),
  }),
});

/** 12 hours at 10 a second. */
const hotEvents = 432_000;
const coldEvents = 10;
const stepUs = 100_000;
const batchEvents = 2_000;
const warmUpReads = 500;
const reads = 6_000;

/** W8: does a key with 432,000 events in its window cost a reader more than one with ten? Both are read in turns. */
export async function measureHotKey(mesh: FullMesh, progress: (text: string) => void): Promise<Record<string, number>> {
  await mesh.apply(sensor, device, view, featureService('devices', { features: [allFeatures(view)] }));
  await eventually(async () =>
    (await mesh.clients.compute.getStatus({})).views.some((each) => each.view === 'readings' && each.state === 2),
  );
  const endUs = Date.now() * 1000;
  const startUs = endUs - hotEvents * stepUs;
  progress(`loading ${hotEvents} events of one key`);
  let position = 0n;
  for (let from = 0; from < hotEvents; from += batchEvents) {
    const events = Array.from({ length: batchEvents }, (_, i) => event('hot', from + i, startUs + (from + i) * stepUs));
    position = (await mesh.clients.ingestion.publish({ source: 'sensors', events })).position;
  }
  const cold = Array.from({ length: coldEvents }, (_, i) => event('cold', i, endUs - (coldEvents - i) * 3_600_000_000));
  position = (await mesh.clients.ingestion.publish({ source: 'sensors', events: cold })).position;
  await eventually(async () => (await mesh.clients.compute.getStatus({})).rowPosition >= position, {
    timeoutMs: 60_000,
  });

  const asOfUs = endUs + 1;
  const requests = {
    hot: readRequest('devices', [stringKeys('id', ['hot'])], asOfUs),
    cold: readRequest('devices', [stringKeys('id', ['cold'])], asOfUs),
  } as const;
  for (const [key, count] of [
    ['hot', hotEvents],
    ['cold', coldEvents],
  ] as const) {
    const [served] = column(await mesh.clients.features.getFeatures(requests[key]), 'readings__count');
    if (served !== count) throw new Error(`the ${key} key's count is ${served}, not ${count}`);
  }
  const histograms = { hot: histogram(), cold: histogram() };
  for (let read = 0; read < warmUpReads + reads; read++) {
    for (const key of read % 2 === 0 ? (['hot', 'cold'] as const) : (['cold', 'hot'] as const)) {
      const startedMs = performance.now();
      await mesh.clients.features.getFeatures(requests[key]);
      if (read >= warmUpReads)
        histograms[key].recordValue(Math.max(1, Math.round((performance.now() - startedMs) * 1000)));
    }
  }
  const at = (key: 'hot' | 'cold', percentile: number) => histograms[key].getValueAtPercentile(percentile) / 1000;
  return {
    events: hotEvents,
    reads,
    hot_p50_ms: at('hot', 50),
    hot_p99_ms: at('hot', 99),
    cold_p50_ms: at('cold', 50),
    cold_p99_ms: at('cold', 99),
    ratio: Math.round((at('hot', 99) / at('cold', 99)) * 1000) / 1000,
    hot_bytes: await rowBytes(mesh, 'hot'),
    cold_bytes: await rowBytes(mesh, 'cold'),
  };
}

function event(id: string, number: number, timeUs: number): ingestion.Event {
  return {
    id: `${id}-${number}`,
    eventTimeUs: BigInt(timeUs),
    json: Buffer.from(`{"id":"${id}","value":${(number * 7919) % 10_007}}`),
  };
}

function histogram() {
  return build({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: 3 });
}

async function rowBytes(mesh: FullMesh, id: string): Promise<number> {
  const hot = await openRedis(mesh.stores.redis.url);
  try {
    const rows = await hot.redis.hvalsBuffer(entityKey('device', [id]));
    return rows.reduce((sum, row) => sum + row.length, 0);
  } finally {
    await hot.close();
  }
}
