import { gzipSync } from 'node:zlib';
import { credentials, Client as GrpcClient, Metadata } from '@grpc/grpc-js';
import { MeshError } from '@millrace/kernel';
import { quietTelemetry } from '@millrace/runtime';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, connect, type GrpcServer, serveGrpc } from '../index.ts';
import { createEcho, echoDefinition, echoState } from './echo.fixture.ts';

let server: GrpcServer;
let client: Client<typeof echoDefinition>;
const state = echoState();

beforeAll(async () => {
  server = await serveGrpc({
    address: '127.0.0.1:0',
    services: [createEcho(state)],
    telemetry: quietTelemetry(),
    limits: { maxMessageBytes: 2 ** 20 },
  });
  client = connect(echoDefinition, server.address, { defaultTimeoutMs: 10_000 });
});

afterAll(async () => {
  client.close();
  await server.close();
});

const bytesOf = (length: number) => Buffer.alloc(length, 'millrace');

async function* repeat(message: Buffer, times: number) {
  for (let i = 0; i < times; i++) yield message;
}

test.each([0, 1, 16_379, 16_380, 100_000, 2 ** 20])('a message of %i bytes comes back', async (length) => {
  expect((await client.unary(bytesOf(length))).equals(bytesOf(length))).toBe(true);
});

test('a message of one byte more than the limit is refused, and the connection goes on', async () => {
  await expect(client.unary(bytesOf(2 ** 20 + 1))).rejects.toMatchObject({
    reason: 'LIMIT_EXCEEDED',
    metadata: { bytes: String(2 ** 20 + 1), limit: String(2 ** 20) },
  });
  expect((await client.unary(bytesOf(3))).length).toBe(3);
});

test('text and binary metadata arrive; the last value of a repeated key counts', async () => {
  const raw = new GrpcClient(server.address, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('trace-bin', Buffer.from('zwölf'));
  metadata.add('tag', 'one');
  metadata.add('tag', 'two');
  const identity = (bytes: Buffer) => bytes;
  await new Promise<void>((resolve, reject) =>
    raw.makeUnaryRequest('/test.Echo/Unary', identity, identity, bytesOf(1), metadata, (error) =>
      error ? reject(error) : resolve(),
    ),
  );
  expect(state.metadata.get('trace-bin')).toBe('zwölf');
  expect(state.metadata.get('tag')).toBe('two');
  raw.close();
});

test('an error keeps its details, whatever its message is made of', async () => {
  const message = `no "ß" 100 % sure\n${'x'.repeat(300)}`;
  state.failure = new MeshError('OVERLOADED', message, { limit: 7 }, { retryAfterMs: 1_250 });
  const error = await client.fail(bytesOf(1)).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ reason: 'OVERLOADED', message, metadata: { limit: '7' }, retryAfterMs: 1_250 });
});

test('a stream that fails after its first answers gives both', async () => {
  state.failure = new MeshError('CORRUPT_DATA', 'the third is broken');
  const got: number[] = [];
  const reading = (async () => {
    for await (const answer of client.download(Buffer.from('2 10 fail'))) got.push(answer.length);
  })();
  await expect(reading).rejects.toMatchObject({ reason: 'CORRUPT_DATA' });
  expect(got).toEqual([10, 10]);
});

test('a deadline is told to the handler, ends the call and aborts its signal', async () => {
  const sinceMs = Date.now();
  await expect(client.hang(bytesOf(1), { timeoutMs: 150 })).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
  expect(Date.now() - sinceMs).toBeGreaterThan(140);
  await expect.poll(() => state.aborted).toBe(1);
  expect(state.deadlineMs).toBeGreaterThan(sinceMs);
  expect(state.deadlineMs).toBeLessThan(sinceMs + 300);
});

test('cancelling aborts the handler of a unary call and of a stream', async () => {
  const before = state.aborted;
  const aborter = new AbortController();
  const calls = [
    client.hang(bytesOf(1), { signal: aborter.signal }),
    firstOf(client.hangStream(bytesOf(1), { signal: aborter.signal })),
  ];
  await expect.poll(() => state.hanging).toBe(2);
  aborter.abort();
  for (const call of await Promise.allSettled(calls)) expect(call).toMatchObject({ reason: { reason: 'CANCELLED' } });
  await expect.poll(() => state.aborted).toBe(before + 2);
});

test('requests that are compressed are read, others refused', async () => {
  const zipped = new GrpcClient(server.address, credentials.createInsecure(), {
    'grpc.default_compression_algorithm': 2,
  });
  const identity = (bytes: Buffer) => bytes;
  const answer = await new Promise<Buffer>((resolve, reject) =>
    zipped.makeUnaryRequest('/test.Echo/Unary', identity, identity, bytesOf(50_000), (error, value) =>
      error ? reject(error) : resolve(value as Buffer),
    ),
  );
  expect(answer.length).toBe(50_000);
  const bomb = await new Promise((resolve) =>
    zipped.makeUnaryRequest('/test.Echo/Unary', identity, identity, Buffer.alloc(2 ** 20 + 1), (error) =>
      resolve(error),
    ),
  );
  expect(gzipSync(Buffer.alloc(2 ** 20 + 1)).length).toBeLessThan(2_000);
  expect(bomb).toMatchObject({ code: 8 });
  zipped.close();
});

test('a caller that does not read holds the handler back, not the memory', async () => {
  const reading = client.download(Buffer.from('2000 100000'))[Symbol.asyncIterator]();
  expect((await reading.next()).value?.length).toBe(100_000);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const held = state.produced;
  expect(held).toBeLessThan(500);
  expect((await client.unary(bytesOf(10))).length).toBe(10);
  let answers = 1;
  while (!(await reading.next()).done) answers++;
  expect(answers).toBe(2_000);
});

test('a handler that does not read holds the caller back, not the memory', async () => {
  let sent = 0;
  async function* requests() {
    for (; sent < 2_000; sent++) yield bytesOf(50_000);
  }
  state.consumed = 0;
  state.hold = Promise.withResolvers<void>();
  const answered = firstOf(client.slowUpload(requests()));
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(sent).toBeLessThan(200);
  expect(state.consumed).toBe(0);
  state.hold.resolve();
  expect((await answered).toString()).toBe('2000');
});

test('both directions of a stream run at once, in order', async () => {
  let index = 0;
  for await (const answer of client.chat(repeat(bytesOf(1_000), 3_000))) {
    expect(answer.readUInt32BE(0)).toBe(index++);
  }
  expect(index).toBe(3_000);
});

test('a thousand calls at once are answered, more wait for their turn', async () => {
  const answers = await Promise.all(Array.from({ length: 2_500 }, (_, i) => client.unary(bytesOf(i % 50))));
  expect(answers.map(({ length }) => length)).toEqual(Array.from({ length: 2_500 }, (_, i) => i % 50));
});

test('a gate refuses before the request is decoded', async () => {
  state.refusal = new MeshError('OVERLOADED', 'full', {}, { retryAfterMs: 40 });
  const decoded = state.decoded;
  await expect(client.unary(bytesOf(10))).rejects.toMatchObject({ reason: 'OVERLOADED', retryAfterMs: 40 });
  expect(state.decoded).toBe(decoded);
  state.refusal = undefined;
  expect((await client.unary(bytesOf(10))).length).toBe(10);
});

test('closing lets calls in flight end, takes no new ones, and a client connects again elsewhere', async () => {
  const other = await serveGrpc({ address: '127.0.0.1:0', services: [createEcho(state)], telemetry: quietTelemetry() });
  const caller = connect(echoDefinition, other.address, { defaultTimeoutMs: 5_000 });
  state.hold = Promise.withResolvers<void>();
  const running = caller.wait(bytesOf(5));
  await expect.poll(() => state.waiting).toBe(1);
  const closed = other.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  await expect(caller.unary(bytesOf(1), { timeoutMs: 500 })).rejects.toMatchObject({ reason: 'SERVICE_UNAVAILABLE' });
  state.hold.resolve();
  expect((await running).length).toBe(5);
  await closed;
  caller.close();
});

async function firstOf(answers: AsyncIterable<Buffer>): Promise<Buffer> {
  for await (const answer of answers) return answer;
  throw new Error('no answer');
}
