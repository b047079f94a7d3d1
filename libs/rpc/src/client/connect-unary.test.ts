import { Server, ServerCredentials } from '@grpc/grpc-js';
import { MeshError } from '@millrace/kernel';
import { quietTelemetry } from '@millrace/runtime';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectUnary, type GrpcServer, serveGrpc, type UnaryClient } from '../index.ts';
import { createEcho, echoDefinition, echoState } from '../server/echo.fixture.ts';

let server: GrpcServer;
let client: UnaryClient<typeof echoDefinition>;
const state = echoState();
const serve = (address = '127.0.0.1:0') =>
  serveGrpc({
    address,
    services: [createEcho(state)],
    telemetry: quietTelemetry(),
    limits: { maxMessageBytes: 2 ** 24 },
  });

beforeAll(async () => {
  server = await serve();
  client = connectUnary(echoDefinition, server.address, { defaultTimeoutMs: 10_000, caller: 'tests' });
});

afterAll(async () => {
  client.close();
  await server.close();
});

const bytesOf = (length: number) => Buffer.alloc(length, 'millrace');

test.each([0, 1, 16_379, 16_380, 100_000, 3 * 2 ** 20, 12 * 2 ** 20])(
  'a message of %i bytes comes back',
  async (length) => {
    expect((await client.unary(bytesOf(length))).equals(bytesOf(length))).toBe(true);
  },
);

test('metadata, the caller and the trace arrive', async () => {
  await client.unary(bytesOf(1), { metadata: { Tag: 'one' }, traceparent: '00-1-2-01' });
  expect(state.metadata.get('tag')).toBe('one');
  expect(state.metadata.get('traceparent')).toBe('00-1-2-01');
  expect(state.metadata.get('x-millrace-caller')).toBe('tests');
  await client.unary(bytesOf(1));
  expect(state.metadata.get('tag')).toBeUndefined();
});

test('an error keeps its details, whatever its message is made of', async () => {
  const message = `no "ß" 100 % sure\n${'x'.repeat(300)}`;
  state.failure = new MeshError('OVERLOADED', message, { limit: 7 }, { retryAfterMs: 1_250 });
  const error = await client.fail(bytesOf(1)).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ reason: 'OVERLOADED', message, metadata: { limit: '7' }, retryAfterMs: 1_250 });
});

test('an answer of more than the limit is an error, and the connection goes on', async () => {
  const careful = connectUnary(echoDefinition, server.address, { maxMessageBytes: 1_000 });
  await expect(careful.unary(bytesOf(100_000))).rejects.toMatchObject({ reason: 'LIMIT_EXCEEDED' });
  expect((await careful.unary(bytesOf(1_000))).length).toBe(1_000);
  careful.close();
});

test('a deadline is told to the handler, ends the call and aborts its signal', async () => {
  const before = state.aborted;
  const sinceMs = Date.now();
  await expect(client.hang(bytesOf(1), { timeoutMs: 150 })).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
  expect(Date.now() - sinceMs).toBeGreaterThan(140);
  await expect.poll(() => state.aborted).toBe(before + 1);
  expect(state.deadlineMs).toBeLessThan(sinceMs + 300);
});

test('cancelling aborts the handler; a call that is cancelled before is not made', async () => {
  const before = state.aborted;
  const aborter = new AbortController();
  const call = client.hang(bytesOf(1), { signal: aborter.signal });
  await expect.poll(() => state.hanging).toBe(1);
  aborter.abort();
  await expect(call).rejects.toMatchObject({ reason: 'CANCELLED' });
  await expect.poll(() => state.aborted).toBe(before + 1);
  await expect(client.unary(bytesOf(1), { signal: aborter.signal })).rejects.toMatchObject({ reason: 'CANCELLED' });
});

test('more calls at once than the server takes wait for their turn', async () => {
  const answers = await Promise.all(Array.from({ length: 2_500 }, (_, i) => client.unary(bytesOf(i % 50))));
  expect(answers.map(({ length }) => length)).toEqual(Array.from({ length: 2_500 }, (_, i) => i % 50));
});

test('no server: calls fail at once; one that comes is found, and again after it was lost', async () => {
  const first = await serve();
  const { address } = first;
  const caller = connectUnary(echoDefinition, address, { defaultTimeoutMs: 5_000 });
  expect((await caller.unary(bytesOf(3))).length).toBe(3);
  state.hold = Promise.withResolvers<void>();
  const running = caller.wait(bytesOf(5));
  await expect.poll(() => state.waiting).toBeGreaterThan(0);
  const closed = first.close();
  await expect.poll(() => caller.unary(bytesOf(1)).catch(({ reason }) => reason)).toBe('SERVICE_UNAVAILABLE');
  state.hold.resolve();
  // what ran when the server began to leave is answered
  expect((await running).length).toBe(5);
  await closed;
  const second = await serve(address);
  await expect.poll(() => caller.unary(bytesOf(2)).catch(() => undefined)).toHaveLength(2);
  caller.close();
  await second.close();
});

test('a call whose server dies fails', async () => {
  const other = await serve();
  const caller = connectUnary(echoDefinition, other.address);
  const call = caller.hang(bytesOf(1));
  await expect.poll(() => state.hanging).toBe(1);
  // after two seconds of patience the connection is cut
  await other.close();
  await expect(call).rejects.toMatchObject({ reason: 'SERVICE_UNAVAILABLE' });
  caller.close();
});

test('grpc-js as the server: large messages both ways, errors without details', async () => {
  const peer = new Server({ 'grpc.max_receive_message_length': -1 });
  const identity = (bytes: Buffer) => bytes;
  const shape = (path: string) => ({
    ...{ path, requestStream: false, responseStream: false },
    ...{ requestSerialize: identity, requestDeserialize: identity },
    ...{ responseSerialize: identity, responseDeserialize: identity },
  });
  peer.addService(
    { unary: shape('/test.Echo/Unary'), fail: shape('/test.Echo/Fail') },
    {
      unary: (call: { request: Buffer }, done: (error: null, answer: Buffer) => void) => done(null, call.request),
      fail: (_: unknown, done: (error: object) => void) => done({ code: 8, details: 'zu viel – später' }),
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    peer.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  const caller = connectUnary(echoDefinition, `127.0.0.1:${port}`, { defaultTimeoutMs: 10_000 });
  const answers = await Promise.all(
    [bytesOf(5 * 2 ** 20), bytesOf(10), bytesOf(2 ** 20)].map((one) => caller.unary(one)),
  );
  expect(answers.map(({ length }) => length)).toEqual([5 * 2 ** 20, 10, 2 ** 20]);
  await expect(caller.fail(bytesOf(1))).rejects.toMatchObject({
    reason: 'LIMIT_EXCEEDED',
    message: expect.stringContaining('zu viel – später'),
  });
  await expect(caller.wait(bytesOf(1))).rejects.toMatchObject({ code: 13 });
  caller.close();
  peer.forceShutdown();
});
