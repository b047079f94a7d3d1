import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compute, type definitions, registry } from '@millrace/contracts';
import {
  createPublisher,
  type DecodedBatch,
  encodeEventBatch,
  ensureStreams,
  openNats,
  subjects,
} from '@millrace/events';
import {
  compileRowReader,
  type FeatureType,
  type FeatureValue,
  rowView,
  type ViewDefinition,
} from '@millrace/features';
import { ensureEventTable, insertBatches, openHistory } from '@millrace/history';
import { createRowReader, entityKey, openRedis, rowField } from '@millrace/hot';
import { viewDefinition, watchRegistry } from '@millrace/registry';
import { connect } from '@millrace/rpc';
import { quietTelemetry } from '@millrace/runtime';
import { createTestMesh, eventually, type RunningService } from '@millrace/testkit';
import { airport, arrivals } from './compute-definitions.ts';
import { source, type TestEvent } from './compute-world.ts';

export type ComputeHarness = Awaited<ReturnType<typeof openHarness>>;

const fields = [
  { name: 'code', type: 'STRING', nullable: false },
  { name: 'delay', type: 'DOUBLE', nullable: true },
] as const;

/** Real stores, the registry, a publisher of EVENTS that mirrors them to history as ingestion does, and rows as a reader sees them. */
export async function openHarness() {
  const mesh = await createTestMesh({ stores: ['nats', 'redis', 'clickhouse'] });
  const telemetry = quietTelemetry();
  const governance = await mesh.service('governance');
  const definitionsClient = connect(registry.RegistryServiceService, governance.grpc, { defaultTimeoutMs: 20_000 });
  const nats = await openNats(mesh.nats.url, { name: 'test' });
  await ensureStreams(nats);
  const hot = await openRedis(mesh.redis.url, { telemetry });
  const history = await openHistory({ url: mesh.clickhouse.url, telemetry });
  await ensureEventTable(history, { name: source, fields });
  const stopping = new AbortController();
  const watch = await watchRegistry(nats, { signal: stopping.signal, telemetry });
  const publisher = createPublisher(nats, { maxInFlight: 64 });
  const reader = createRowReader(hot);
  let service: RunningService | undefined;
  let lastSeq = 0;

  const running = () => {
    if (service === undefined) throw new Error('compute is not started');
    return service;
  };
  const client = () => connect(compute.ComputeServiceService, running().grpc, { defaultTimeoutMs: 20_000 });
  const apply = async (...wanted: readonly definitions.Definition[]): Promise<void> => {
    const change = { definitions: [...wanted], removals: [], allowBreaking: true };
    const { revision } = await definitionsClient.apply(change);
    await eventually(() => watch.current().revision >= Number(revision));
  };
  await apply(airport, arrivals);

  async function status() {
    const asked = client();
    try {
      return await asked.getStatus({});
    } finally {
      asked.close();
    }
  }

  async function readRow(view: ViewDefinition, code: string): Promise<Buffer | undefined> {
    const [found] = await reader.read([entityKey(view.entity, [code])], [[rowField(view.name, view.version)]]);
    return found?.[0] ?? undefined;
  }

  return {
    mesh,
    hot,
    history,
    client,
    status,
    service: running,
    start: async (env: Readonly<Record<string, string>> = {}) => {
      service = await mesh.service('feature-compute', env);
      return service;
    },
    apply,
    definition: (name: string) => viewDefinition(watch.current(), name),
    ready: (view: ViewDefinition) =>
      eventually(
        async () => {
          const { views } = await status();
          const found = views.find((each) => each.view === view.name && each.version === view.version);
          return found?.state === compute.ViewState.READY ? found : false;
        },
        { timeoutMs: 60_000 },
      ),
    caughtUp: () => eventually(async () => Number((await status()).rowPosition) >= lastSeq, { timeoutMs: 60_000 }),
    publish: async (events: readonly TestEvent[], options: { readonly msgId?: string } = {}) => {
      const batch = toBatch(events);
      const subject = subjects.events(source, 0);
      const sent = await publisher.publish(subject, encodeEventBatch(batch), { msgId: options.msgId ?? randomUUID() });
      if (!sent.duplicate) await insertBatches(history, { name: source, fields }, [{ seq: sent.seq, batch }]);
      lastSeq = Math.max(lastSeq, sent.seq);
    },
    /** The values of a view for an entity, as of a time; undefined when it has no row, or one that starts later. */
    values: async (
      view: ViewDefinition,
      code: string,
      asOfUs: number,
    ): Promise<readonly FeatureValue[] | undefined> => {
      const row = await readRow(view, code);
      return row === undefined ? undefined : valuesOfRow(view, row, asOfUs);
    },
    rowPosition: async (view: ViewDefinition, code: string): Promise<number> => {
      const row = await readRow(view, code);
      return row === undefined ? 0 : compileRowReader(view).position(rowView(row));
    },
    trainingSet: async (request: compute.BuildTrainingSetRequest) => {
      const asked = client();
      const pieces: Buffer[] = [];
      let record: compute.TrainingSetRecord | undefined;
      for await (const { part } of asked.buildTrainingSet(request, { timeoutMs: 60_000 })) {
        if (part?.$case === 'parquet') pieces.push(part.value);
        if (part?.$case === 'record') record = part.value;
      }
      asked.close();
      const file = join(mesh.dir, `${randomUUID()}.parquet`);
      writeFileSync(file, Buffer.concat(pieces));
      const rows = await history.query<Record<string, unknown>>(`SELECT * FROM file('${file}', Parquet)`);
      if (record === undefined) throw new Error('the stream ended without a record');
      return { rows, record };
    },
    close: async () => {
      stopping.abort();
      definitionsClient.close();
      await hot.close();
      await history.close();
      await nats.close();
      await mesh.close();
    },
  };
}

function toBatch(events: readonly TestEvent[]): DecodedBatch {
  const nulls = Uint8Array.from(events, ({ delay }) => (delay === null ? 1 : 0));
  return {
    source,
    sourceVersion: 'test',
    knownTimeUs: Date.now() * 1000,
    ids: events.map(() => randomUUID()),
    count: events.length,
    eventTimeUs: Float64Array.from(events, ({ atUs }) => atUs),
    payloadHashes: new BigUint64Array(events.length),
    columns: new Map([
      ['code', { type: 'str' as const, values: events.map(({ code }) => code), nulls: null }],
      ['delay', { type: 'f64' as const, values: Float64Array.from(events, ({ delay }) => delay ?? 0), nulls }],
    ]),
  };
}

export function toWire(value: FeatureValue, type: FeatureType): compute.SampleValue {
  if (value === null) return { kind: undefined };
  return type === 'DOUBLE'
    ? { kind: { $case: 'doubleValue', value: Number(value) } }
    : { kind: { $case: 'int64Value', value: BigInt(value as number) } };
}

function valuesOfRow(view: ViewDefinition, row: Buffer, asOfUs: number): readonly FeatureValue[] | undefined {
  const reader = compileRowReader(view);
  return reader.valuesAt(rowView(row), asOfUs);
}
