import { definitions, ingestion, registry } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { createTestMesh, eventually, type RunningService } from '@millrace/testkit';

const { DOUBLE, INT64, STRING, TIMESTAMP } = definitions.FieldType;

export type IngestionHarness = Awaited<ReturnType<typeof openHarness>>;
export type Fields = Readonly<Record<string, unknown>>;

export const source = 'arrivals';
export const baseUs = Date.UTC(2001, 0, 1) * 1000;

export const spec = definitions.Source.fromPartial({
  fields: [
    { name: 'at', type: TIMESTAMP },
    { name: 'origin', type: STRING, enumValues: ['SEA', 'SFO', 'JFK'] },
    { name: 'delay', type: DOUBLE, nullable: true, min: -1000, max: 10_000 },
    { name: 'distance', type: INT64 },
  ],
  eventTimeField: 'at',
});

export const good: Fields = { at: baseUs, origin: 'SEA', delay: 4.5, distance: 680 };

export const event = (id: string, fields: Fields | string = good): ingestion.Event => ({
  id,
  eventTimeUs: 0n,
  json: Buffer.from(typeof fields === 'string' ? fields : JSON.stringify(fields)),
});

export const eventsOf = (from: number, to: number): ingestion.Event[] =>
  Array.from({ length: to - from }, (_, at) =>
    event(`e${from + at}`, { ...good, at: baseUs + (from + at) * 1000, distance: from + at }),
  );

/** Real NATS and ClickHouse, governance for the registry, and ingestion with one source. */
export async function openHarness(env: Readonly<Record<string, string>> = {}) {
  const mesh = await createTestMesh({ stores: ['nats', 'clickhouse', 'redis'] });
  try {
    const governance = await mesh.service('governance');
    const registryClient = connect(registry.RegistryServiceService, governance.grpc, { defaultTimeoutMs: 20_000 });
    const define = async (over: Partial<definitions.Source> = {}, name = source) => {
      const defined = definitions.Definition.fromPartial({
        name,
        metadata: { owner: 'tests', description: 'arrivals' },
        file: 'test',
        spec: { $case: 'source', value: { ...spec, ...over } },
      });
      await registryClient.apply({ definitions: [defined], removals: [], allowBreaking: true });
    };
    await define();
    const service: RunningService = await mesh.service('ingestion', {
      MILLRACE_INGESTION_HISTORY_FLUSH_INTERVAL_MS: '50',
      ...env,
    });
    const client = connect(ingestion.IngestionServiceService, service.grpc, { defaultTimeoutMs: 20_000 });
    await eventually(async () => (await client.getProgress({ source: '' })).sources.length > 0);

    const progress = async () => {
      const { sources } = await client.getProgress({ source });
      const [found] = sources;
      if (found === undefined) throw new Error('no progress');
      return found;
    };
    /** Rows and distinct event ids in ClickHouse. */
    const inHistory = async (): Promise<{ rows: number; ids: number }> => {
      const query = `SELECT toUInt32(count()) AS rows, toUInt32(uniqExact(_event_id)) AS ids FROM millrace.events_${source} FORMAT JSONEachRow`;
      const response = await fetch(`${mesh.clickhouse.url}/?query=${encodeURIComponent(query)}`);
      const text = await response.text();
      if (!response.ok) throw new Error(text);
      return JSON.parse(text) as { rows: number; ids: number };
    };
    return {
      mesh,
      governance,
      service,
      client,
      define,
      progress,
      inHistory,
      publish: (...events: readonly ingestion.Event[]) => client.publish({ source, events: [...events] }),
      async close() {
        client.close();
        registryClient.close();
        await mesh.close();
      },
    };
  } catch (thrown) {
    await mesh.close();
    throw thrown;
  }
}

/** Publishes like a careful publisher: a batch without an acknowledgement is sent again, with the same ids, until it has one. */
export async function publishUntilAcknowledged(harness: IngestionHarness, from: number, to: number, size: number) {
  for (let at = from; at < to; at += size) {
    const events = eventsOf(at, Math.min(at + size, to));
    await eventually(
      async () => {
        const { accepted, duplicates } = await harness.client.publish({ source, events }, { timeoutMs: 15_000 });
        return accepted + duplicates === events.length;
      },
      { timeoutMs: 90_000, everyMs: 50 },
    );
  }
}
