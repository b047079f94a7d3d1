import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { quietTelemetry } from '@millrace/runtime';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, connect as connectRpc, type GrpcServer, serveGrpc } from '../index.ts';
import { createEcho, echoDefinition, echoState } from '../server/echo.fixture.ts';
import { Frame, preface } from './frames.ts';
import { encodeBlock } from './hpack-encoder.ts';

let server: GrpcServer;
let client: Client<typeof echoDefinition>;
const state = echoState();

beforeAll(async () => {
  server = await serveGrpc({ address: '127.0.0.1:0', services: [createEcho(state)], telemetry: quietTelemetry() });
  client = connectRpc(echoDefinition, server.address, { defaultTimeoutMs: 5_000 });
});

afterAll(async () => {
  client.close();
  await server.close();
});

function frame(type: number, flags: number, stream: number, payload: Buffer | readonly number[] = []): Buffer {
  const bytes = Buffer.from(payload);
  const head = Buffer.alloc(9);
  head.writeUIntBE(bytes.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, bytes]);
}

const hello = Buffer.concat([preface, frame(Frame.SETTINGS, 0, 0)]);
const uint32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const call = (path: string, more: readonly (readonly [string, string])[] = []) =>
  encodeBlock([
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...more,
  ]);
const unary = call('/test.Echo/Unary');
const message = Buffer.from([0, 0, 0, 0, 3, 1, 2, 3]);

/** Frames that came until the server had nothing more to say or hung up. */
async function talk(
  ...sent: Buffer[]
): Promise<{ frames: { type: number; flags: number; stream: number; payload: Buffer }[]; ended: boolean }> {
  const [host, port] = server.address.split(':');
  const socket: Socket = connect(Number(port), host);
  const chunks: Buffer[] = [];
  let ended = false;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  socket.on('close', () => {
    ended = true;
  });
  await once(socket, 'connect');
  for (const bytes of sent) socket.write(bytes);
  let quietFor = 0;
  for (let seen = 0; quietFor < 4 && !ended; quietFor = chunks.length === seen ? quietFor + 1 : 0) {
    seen = chunks.length;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  socket.destroy();
  const bytes = Buffer.concat(chunks);
  const frames = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    frames.push({
      type: bytes[at + 3] ?? 0,
      flags: bytes[at + 4] ?? 0,
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    });
    at += 9 + length;
  }
  return { frames, ended };
}

const violations: readonly (readonly [string, number, readonly Buffer[]])[] = [
  ['HTTP/1.1', 1, [Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n')]],
  ['a first frame that is no SETTINGS', 1, [preface, frame(Frame.PING, 0, 0, Buffer.alloc(8))]],
  ['a frame above 16 KiB', 6, [hello, frame(Frame.DATA, 0, 1, Buffer.alloc(16_385))]],
  ['HEADERS on an even stream', 1, [hello, frame(Frame.HEADERS, 5, 2, unary)]],
  ['DATA on a stream that is not open', 1, [hello, frame(Frame.DATA, 1, 5, message)]],
  [
    'a header block that another frame interrupts',
    1,
    [hello, frame(Frame.HEADERS, 0, 1, unary), frame(Frame.PING, 0, 0, Buffer.alloc(8))],
  ],
  ['CONTINUATION out of nowhere', 1, [hello, frame(Frame.CONTINUATION, 4, 1, unary)]],
  [
    'an endless header block',
    11,
    [hello, frame(Frame.HEADERS, 0, 1, unary), ...Array.from({ length: 8_000 }, () => frame(Frame.CONTINUATION, 0, 1))],
  ],
  ['more padding than frame', 1, [hello, frame(Frame.HEADERS, 4, 1, unary), frame(Frame.DATA, 9, 1, [200, 1, 2])]],
  ['a header block that is no HPACK', 9, [hello, frame(Frame.HEADERS, 5, 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0x0f])]],
  ['WINDOW_UPDATE of nothing', 1, [hello, frame(Frame.WINDOW_UPDATE, 0, 0, uint32(0))]],
  ['a connection window beyond 2 GiB', 3, [hello, frame(Frame.WINDOW_UPDATE, 0, 0, uint32(0x7fffffff))]],
  ['SETTINGS of 5 bytes', 6, [hello, frame(Frame.SETTINGS, 0, 0, Buffer.alloc(5))]],
  ['PING of 7 bytes', 6, [hello, frame(Frame.PING, 0, 0, Buffer.alloc(7))]],
  ['PUSH_PROMISE', 1, [hello, frame(Frame.PUSH_PROMISE, 4, 1, Buffer.alloc(4))]],
];

test.each(violations)('%s ends the connection with GOAWAY of code %i', async (_what, code, sent) => {
  const { frames, ended } = await talk(...sent);
  const goAway = frames.find(({ type }) => type === Frame.GOAWAY);
  expect(goAway?.payload.readUInt32BE(4)).toBe(code);
  expect(ended).toBe(true);
  expect((await client.unary(message)).equals(message)).toBe(true);
});

test('a request in pieces, padded and with unknown frames between, is answered', async () => {
  const padded = frame(Frame.DATA, 0x9, 1, Buffer.concat([Buffer.from([4]), message.subarray(2), Buffer.alloc(4)]));
  const bytes = Buffer.concat([
    hello,
    frame(
      Frame.HEADERS,
      0x28,
      1,
      Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 9]), unary.subarray(0, 10), Buffer.alloc(2)]),
    ),
    frame(Frame.CONTINUATION, 4, 1, unary.subarray(10)),
    frame(0xbe, 0xff, 1, Buffer.alloc(30)),
    frame(Frame.DATA, 0, 1, message.subarray(0, 2)),
    frame(Frame.PRIORITY, 0, 1, Buffer.alloc(5)),
    padded,
  ]);
  const { frames } = await talk(...Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)));
  expect(frames.find(({ type }) => type === Frame.DATA)?.payload.equals(message)).toBe(true);
});

test('an answer waits for the windows of stream and connection', async () => {
  const window0 = Buffer.concat([
    preface,
    frame(Frame.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(0)])),
  ]);
  const request = [frame(Frame.HEADERS, 4, 1, unary), frame(Frame.DATA, 1, 1, message)];
  const held = await talk(window0, ...request);
  expect(held.frames.filter(({ type }) => type === Frame.DATA)).toEqual([]);
  const drops = Array.from({ length: 8 }, () => frame(Frame.WINDOW_UPDATE, 0, 1, uint32(1)));
  const { frames } = await talk(window0, ...request, ...drops);
  const data = frames.filter(({ type }) => type === Frame.DATA);
  expect(data.length).toBeLessThanOrEqual(8);
  expect(Buffer.concat(data.map(({ payload }) => payload)).equals(message)).toBe(true);
});

test('what is no call of gRPC, no method, no time, no encoding is told so', async () => {
  const status = async (block: Buffer) => {
    const { frames } = await talk(hello, frame(Frame.HEADERS, 5, 1, block));
    return frames
      .filter(({ type }) => type === Frame.HEADERS)
      .map(({ payload }) => payload.toString('latin1'))
      .join();
  };
  expect(
    await status(
      encodeBlock([
        [':method', 'GET'],
        [':path', '/'],
      ]),
    ),
  ).toContain('405');
  expect(
    await status(
      encodeBlock([
        [':method', 'POST'],
        [':path', '/'],
        ['content-type', 'text/plain'],
      ]),
    ),
  ).toContain('415');
  expect(await status(call('/test.Echo/Nothing'))).toMatch(/grpc-status.12/s);
  expect(await status(call('/test.Echo/Unary', [['grpc-timeout', 'soon']]))).toMatch(/grpc-status.3/s);
  expect(await status(call('/test.Echo/Unary', [['grpc-encoding', 'br']]))).toMatch(/grpc-status.12/s);
  expect(await status(call('/test.Echo/Unary', [['x', 'y'.repeat(16_200)]]))).toMatch(/grpc-status.8/s);
});

test('calls that are reset count until their handlers have ended', async () => {
  state.hold = Promise.withResolvers<void>();
  const wait = call('/test.Echo/Wait');
  const resets = Array.from({ length: 1_010 }, (_, i) =>
    Buffer.concat([
      frame(Frame.HEADERS, 4, 2 * i + 1, wait),
      frame(Frame.DATA, 1, 2 * i + 1, message),
      frame(Frame.RST_STREAM, 0, 2 * i + 1, uint32(8)),
    ]),
  );
  const { frames } = await talk(hello, Buffer.concat(resets));
  expect(frames.filter(({ type, payload }) => type === Frame.RST_STREAM && payload.readUInt32BE(0) === 7).length).toBe(
    10,
  );
  state.hold.resolve();
});

test('any frames at all end no more than their own connection', async () => {
  const someFrame = fc
    .tuple(
      fc.integer({ min: 0, max: 11 }),
      fc.integer({ min: 0, max: 255 }),
      fc.integer({ min: 0, max: 9 }),
      fc.uint8Array({ maxLength: 60 }),
    )
    .map(([type, flags, stream, payload]) => frame(type, flags, stream, Buffer.from(payload)));
  const good = fc.constantFrom(
    frame(Frame.HEADERS, 4, 1, unary),
    frame(Frame.HEADERS, 4, 3, call('/test.Echo/Chat')),
    frame(Frame.DATA, 0, 3, message),
    frame(Frame.DATA, 1, 1, message),
    frame(Frame.WINDOW_UPDATE, 0, 0, uint32(100)),
    frame(Frame.RST_STREAM, 0, 3, uint32(8)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(someFrame, good, good), { maxLength: 20 }), async (frames) => {
      const [host, port] = server.address.split(':');
      const socket = connect(Number(port), host);
      socket.on('error', () => {});
      socket.resume();
      socket.write(Buffer.concat([hello, ...frames]));
      socket.end();
      await once(socket, 'close');
    }),
    { numRuns: 1_000 },
  );
  expect((await client.unary(message)).equals(message)).toBe(true);
});
