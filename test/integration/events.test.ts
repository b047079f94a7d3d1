import { createPublisher, type NatsLink, openNats, readStream } from '@millrace/events';
import { createTestMesh, type TestMesh } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';

let mesh: TestMesh;
let link: NatsLink;

beforeAll(async () => {
  mesh = await createTestMesh({ stores: ['nats'] });
  link = await openNats(mesh.nats.url, { name: 'events-test' });
  await link.jsm.streams.add({ name: 'THINGS', subjects: ['things.>'], max_msg_size: 1_000 });
});

afterAll(async () => {
  await link?.close();
  await mesh?.close();
});

const bytes = (text: string) => Buffer.from(text);

test('messages are acknowledged with their positions, in order, and one with a known id is a duplicate', async () => {
  const publisher = createPublisher(link, { maxInFlight: 8 });
  const sent = await Promise.all(Array.from({ length: 100 }, (_, i) => publisher.publish('things.a', bytes(`${i}`))));
  expect(sent.map(({ seq }) => seq)).toEqual(Array.from({ length: 100 }, (_, i) => (sent[0]?.seq ?? 0) + i));
  const first = await publisher.publish('things.a', bytes('once'), { msgId: 'm1' });
  expect(first.duplicate).toBe(false);
  expect(await publisher.publish('things.a', bytes('once'), { msgId: 'm1' })).toEqual({
    seq: first.seq,
    duplicate: true,
  });
});

test('publishing goes on through kill -9 of NATS: what was acknowledged is there, once', async () => {
  const publisher = createPublisher(link, { maxInFlight: 64 });
  const publishing = Promise.all(
    Array.from({ length: 2_000 }, async (_, i) => {
      await new Promise((resolve) => setTimeout(resolve, i / 2));
      return publisher.publish('things.b', bytes(`b${i}`), { msgId: `b${i}` });
    }),
  );
  await new Promise((resolve) => setTimeout(resolve, 300));
  await mesh.nats.kill9();
  await mesh.nats.restart();
  const sent = await publishing;
  expect(new Set(sent.map(({ seq }) => seq)).size).toBe(2_000);
  const seen: string[] = [];
  const stop = new AbortController();
  for await (const { seq, data, pending } of readStream(link, { stream: 'THINGS', fromSeq: 1, signal: stop.signal })) {
    const text = Buffer.from(data).toString();
    if (text.startsWith('b')) seen.push(text);
    if (seq > 0 && pending === 0) stop.abort();
  }
  expect(seen.length).toBe(2_000);
  expect(new Set(seen).size).toBe(2_000);
});

test('what JetStream refuses is tried until the signal aborts, and then said; what NATS cannot carry is refused at once', async () => {
  const publisher = createPublisher(link, { maxInFlight: 4 });
  const signal = AbortSignal.timeout(500);
  await expect(publisher.publish('things.c', Buffer.alloc(5_000), { signal })).rejects.toThrow(/things\.c|abort/i);
  await expect(publisher.publish('nowhere.at.all', bytes('x'), { signal: AbortSignal.timeout(500) })).rejects.toThrow();
  await expect(publisher.publish('things.c', Buffer.alloc((link.nc.info?.max_payload ?? 0) + 1))).rejects.toThrow(
    /over NATS's limit/,
  );
});
