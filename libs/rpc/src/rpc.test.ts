import { health, ingestion, registry } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { quietTelemetry } from '@millrace/runtime';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bindService, type Client, connect, type GrpcServer, serveGrpc } from './index.ts';

let server: GrpcServer;
let client: Client<typeof ingestion.IngestionServiceService>;
const telemetry = quietTelemetry();

beforeAll(async () => {
  const service = bindService(ingestion.IngestionServiceService, {
    publish: async ({ source, events }, { signal }) => {
      if (source === 'hang')
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      if (source === 'bug') throw new TypeError('x is undefined');
      if (source !== 'clicks')
        throw new MeshError('UNKNOWN_SOURCE', `no source "${source}"`, { source }, { retryAfterMs: 1500 });
      return {
        accepted: events.length,
        duplicates: 0,
        rejections: [],
        position: 2n ** 60n,
        knownTimeUs: 1n,
        warnings: [],
      };
    },
    publishStream: async function* (requests) {
      for await (const { batchSequence } of requests)
        yield { batchSequence, result: undefined, reason: '', message: 'x'.repeat(1000) };
    },
    listQuarantine: () => ({ events: [], total: 0n }),
    replayQuarantine: () => ({ accepted: 0, duplicates: 0, rejected: 0, rejections: [] }),
    listExpectationResults: () => ({ results: [], fitted: [], blocks: [] }),
    explainQuarantine: () => {
      throw new MeshError('UNKNOWN_EVENT', 'none');
    },
    resumeSource: () => ({ lifted: [], standing: [] }),
    getProgress: () => ({ sources: [] }),
  });
  server = await serveGrpc({
    address: '127.0.0.1:0',
    services: [service],
    telemetry,
    limits: { maxMessageBytes: 100_000 },
  });
  client = connect(ingestion.IngestionServiceService, server.address, { defaultTimeoutMs: 5_000 });
});

afterAll(async () => {
  client.close();
  await server.close();
});

const event = (bytes: number): ingestion.Event => ({ id: '1', eventTimeUs: 0n, json: Buffer.alloc(bytes) });

test('a request and its response come through', async () => {
  expect(await client.publish({ source: 'clicks', events: [event(1), event(2)] })).toMatchObject({
    accepted: 2,
    position: 2n ** 60n,
  });
});

test('an error arrives as it was thrown: reason, message, metadata and retry delay', async () => {
  const error = await client.publish({ source: 'klicks', events: [] }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(MeshError);
  expect(error).toMatchObject({
    reason: 'UNKNOWN_SOURCE',
    message: 'no source "klicks"',
    metadata: { source: 'klicks' },
    retryAfterMs: 1500,
    code: 5,
  });
});

test('a bug in a handler is INTERNAL and stops nothing', async () => {
  await expect(client.publish({ source: 'bug', events: [] })).rejects.toMatchObject({ reason: 'INTERNAL' });
  expect((await client.publish({ source: 'clicks', events: [] })).accepted).toBe(0);
});

test('a deadline ends the call and aborts the handler', async () => {
  await expect(client.publish({ source: 'hang', events: [] }, { timeoutMs: 100 })).rejects.toMatchObject({
    reason: 'DEADLINE_EXCEEDED',
  });
});

test('a message over the limit is refused with both sizes', async () => {
  await expect(client.publish({ source: 'clicks', events: [event(200_000)] })).rejects.toMatchObject({
    reason: 'LIMIT_EXCEEDED',
    message: expect.stringMatching(/100000/),
  });
});

test('a bidirectional stream keeps order under back-pressure', async () => {
  async function* requests() {
    for (let sequence = 1n; sequence <= 5000n; sequence++)
      yield { batchSequence: sequence, batch: { source: 'clicks', events: [] } };
  }
  let expected = 1n;
  for await (const { batchSequence } of client.publishStream(requests())) expect(batchSequence).toBe(expected++);
  expect(expected).toBe(5001n);
});

test('requests that fail end their call with their own error, and nothing else', async () => {
  async function* requests() {
    yield { batchSequence: 1n, batch: { source: 'clicks', events: [] } };
    throw new RangeError('the file ends here');
  }
  const reading = (async () => {
    for await (const _ of client.publishStream(requests()));
  })();
  await expect(reading).rejects.toThrow(new RangeError('the file ends here'));
  expect((await client.publish({ source: 'clicks', events: [] })).accepted).toBe(0);
});

test('health and reflection answer; an unknown method is an error', async () => {
  const probe = connect(health.HealthService, server.address);
  expect(await probe.check({ service: 'millrace.ingestion.v1.IngestionService' })).toEqual({ status: 1 });
  await expect(probe.check({ service: 'nothing' })).rejects.toMatchObject({ reason: 'UNKNOWN_DEFINITION' });
  probe.close();
  const other = connect(registry.RegistryServiceService, server.address);
  await expect(other.listDefinitions({ kind: 0 })).rejects.toBeInstanceOf(MeshError);
  other.close();
});

test('a server that is not there is SERVICE_UNAVAILABLE and names the address', async () => {
  const nowhere = connect(ingestion.IngestionServiceService, '127.0.0.1:1', { defaultTimeoutMs: 2_000 });
  await expect(nowhere.getProgress({ source: '' })).rejects.toMatchObject({
    reason: 'SERVICE_UNAVAILABLE',
    metadata: { address: '127.0.0.1:1' },
  });
  nowhere.close();
});
