import {
  createPublisher,
  type DecodedBatch,
  encodeEventBatch,
  ensureStreams,
  type NatsLink,
  openNats,
  subjects,
} from '@millrace/events';
import { createTestMesh, type TestMesh } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEventLog } from '../../services/feature-compute/src/adapters/nats-events.ts';

let mesh: TestMesh;
let link: NatsLink;

beforeAll(async () => {
  mesh = await createTestMesh({ stores: ['nats'] });
  link = await openNats(mesh.nats.url, { name: 'test' });
  await ensureStreams(link);
});

afterAll(async () => {
  await link?.close();
  await mesh?.close();
});

function batch(source: string): DecodedBatch {
  return {
    source,
    sourceVersion: 'v',
    knownTimeUs: 1,
    count: 1,
    ids: ['a'],
    eventTimeUs: Float64Array.of(1),
    payloadHashes: new BigUint64Array(1),
    columns: new Map(),
  };
}

test('the log tells its bounds, the last position of a source over all partitions, and where a trace came from', async () => {
  const log = createEventLog(link);
  expect(await log.lastPosition('a')).toBe(0);
  const publisher = createPublisher(link, { maxInFlight: 1 });
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  await publisher.publish(subjects.events('a', 0), encodeEventBatch(batch('a')), { headers: { traceparent } });
  await publisher.publish(subjects.events('a', 1), encodeEventBatch(batch('a')));
  await publisher.publish(subjects.events('ab', 0), encodeEventBatch(batch('ab')));
  expect(await log.lastPosition('a')).toBe(2);
  expect(await log.lastPosition('ab')).toBe(3);
  expect(await log.lastPosition('none')).toBe(0);
  expect(await log.bounds()).toEqual({ first: 1, last: 3 });

  const stop = new AbortController();
  const seen: unknown[] = [];
  for await (const message of log.read(1, stop.signal)) {
    seen.push([message.seq, log.decode(message.data).source, message.traceparent, message.pending]);
    if (message.seq === 3) stop.abort();
  }
  expect(seen).toEqual([
    [1, 'a', traceparent, 2],
    [2, 'a', undefined, 1],
    [3, 'ab', undefined, 0],
  ]);
});
