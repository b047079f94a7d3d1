import { compute, definitions, registry } from '@millrace/contracts';
import {
  createPublisher,
  type DecodedBatch,
  encodeEventBatch,
  ensureStreams,
  openNats,
  subjects,
} from '@millrace/events';
import { connect } from '@millrace/rpc';
import { createTestMesh, eventually } from '@millrace/testkit';

const { AggregationFunction, FieldType } = definitions;
const hourUs = 3_600_000_000n;

/** Encoded batches → JetStream → compute → rows in Redis and checkpoints in LMDB, until the last event is in its row. */
export async function measureEndToEnd(
  batches: readonly DecodedBatch[],
  source: string,
): Promise<Record<string, number>> {
  const mesh = await createTestMesh({ stores: ['nats', 'redis', 'clickhouse'] });
  try {
    const governance = await mesh.service('governance');
    const registryClient = connect(registry.RegistryServiceService, governance.grpc, { defaultTimeoutMs: 20_000 });
    await registryClient.apply({ definitions: definitionsOf(source), removals: [], allowBreaking: false });
    registryClient.close();
    const nats = await openNats(mesh.nats.url, { name: 'bench' });
    await ensureStreams(nats);
    const service = await mesh.service('feature-compute', { MILLRACE_LOG_LEVEL: 'warn' });
    const client = connect(compute.ComputeServiceService, service.grpc, { defaultTimeoutMs: 20_000 });
    await eventually(async () =>
      (await client.getStatus({})).views.some((view) => view.state === compute.ViewState.READY),
    );

    const encoded = batches.map((batch) => encodeEventBatch(batch));
    const publisher = createPublisher(nats, { maxInFlight: 32 });
    const startedMs = performance.now();
    const sent = await Promise.all(
      encoded.map((bytes, at) => publisher.publish(subjects.events(source, 0), bytes, { msgId: `bench-${at}` })),
    );
    const publishedMs = performance.now();
    const last = Math.max(...sent.map(({ seq }) => seq));
    await eventually(async () => Number((await client.getStatus({})).rowPosition) >= last, { timeoutMs: 120_000 });
    const seconds = (performance.now() - startedMs) / 1000;
    const { rowsWritten } = await client.getStatus({});
    const events = batches.reduce((sum, batch) => sum + batch.count, 0);
    client.close();
    await nats.close();
    return {
      events_per_s: Math.round(events / seconds),
      publish_events_per_s: Math.round((events * 1000) / (publishedMs - startedMs)),
      rows_written: Number(rowsWritten),
    };
  } finally {
    await mesh.close();
  }
}

function definitionsOf(source: string): definitions.Definition[] {
  const define = (name: string, spec: definitions.Definition['spec']): definitions.Definition => ({
    name,
    metadata: { owner: 'bench', description: name, tags: new Map() },
    file: 'bench',
    spec,
  });
  const feature = (name: string, fn: definitions.AggregationFunction, field: string, hours: bigint) =>
    definitions.AggregatedFeature.fromPartial({
      name,
      function: fn,
      field,
      window: { kind: { $case: 'sliding', value: { sizeUs: hours * hourUs, hopUs: 0n } } },
    });
  return [
    define('airport', { $case: 'entity', value: { joinKeys: [{ name: 'code', type: FieldType.STRING }] } }),
    define(source, {
      $case: 'source',
      value: definitions.Source.fromPartial({
        fields: [
          { name: 'origin', type: FieldType.STRING },
          { name: 'delay', type: FieldType.DOUBLE },
          { name: 'distance', type: FieldType.INT64 },
        ],
      }),
    }),
    define('origin_delays', {
      $case: 'featureView',
      value: definitions.FeatureView.fromPartial({
        entity: 'airport',
        source,
        keys: [{ joinKey: 'code', field: 'origin' }],
        features: [
          feature('n_1h', AggregationFunction.COUNT, '', 1n),
          feature('mean_1h', AggregationFunction.MEAN, 'delay', 1n),
          feature('max_1h', AggregationFunction.MAX, 'delay', 1n),
          feature('n_3h', AggregationFunction.COUNT, '', 3n),
          feature('mean_3h', AggregationFunction.MEAN, 'delay', 3n),
          feature('n_24h', AggregationFunction.COUNT, '', 24n),
          feature('mean_24h', AggregationFunction.MEAN, 'delay', 24n),
          feature('sd_24h', AggregationFunction.STDDEV, 'delay', 24n),
          feature('mean_7d', AggregationFunction.MEAN, 'delay', 168n),
          feature('distance_7d', AggregationFunction.SUM, 'distance', 168n),
        ],
      }),
    }),
  ];
}
