import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Connection } from './connection.ts';
import { HpackDecoder } from './hpack-decoder.ts';
import { encodeBlock } from './hpack-encoder.ts';

/** nghttp2, as Node has it, is the other side: what it encodes and decodes is what the world speaks. */
let server: Server;
let session: ClientHttp2Session;
let fields: readonly string[] = [];
let answer: Buffer = Buffer.alloc(0);

beforeAll(async () => {
  server = createServer((socket: Socket) => {
    new Connection(socket, {
      readHead(block) {
        fields = block.fields;
        return block;
      },
      onStream: (stream) => stream.trailers(answer),
      onClose: () => {},
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

afterAll(() => {
  session.destroy();
  server.close();
});

const name = fc.stringMatching(/^x-[a-z0-9-]{1,12}$/);
const value = fc.oneof(
  fc.constantFrom('a', 'b', '', '0'),
  // no spaces at the ends: nghttp2 takes them off
  fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength: 300 }),
);

test('whatever nghttp2 sends, Huffman and tables included, is read as it was', async () => {
  answer = encodeBlock([[':status', '200']]);
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, value, { maxKeys: 20 }), async (headers) => {
      const stream = session.request({ ':path': '/x', ...headers }, { endStream: true });
      stream.resume();
      await once(stream, 'close');
      const got = Object.fromEntries(pairs(fields));
      expect(got).toMatchObject({ ...headers, ':path': '/x', ':method': 'GET' });
      expect(pairs(fields).length).toBe(Object.keys(headers).length + 4);
    }),
    { numRuns: 500 },
  );
});

test('nghttp2 reads what we send, blocks of many frames too', async () => {
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, value, { maxKeys: 20 }), fc.nat(40_000), async (headers, length) => {
      const long = 'v'.repeat(length);
      answer = encodeBlock([[':status', '200'], ...Object.entries(headers), ['long', long]]);
      const stream = session.request({ ':path': '/x' }, { endStream: true });
      stream.resume();
      const [got] = await once(stream, 'response');
      expect(got).toMatchObject({ ...headers, ':status': 200, long });
    }),
    { numRuns: 200 },
  );
});

test('any bytes are a block or a ConnectionError', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (blocks) => {
      const decoder = new HpackDecoder({ tableBytesMax: 4_096, listBytesMax: 16_384 });
      for (const block of blocks) {
        try {
          decoder.decode(Buffer.from(block));
        } catch (error) {
          expect(error).toMatchObject({ code: 9 });
          return;
        }
      }
    }),
    { numRuns: 20_000 },
  );
});

test('a small block that names a large entry many times is cut at the limit', () => {
  const decoder = new HpackDecoder({ tableBytesMax: 4_096, listBytesMax: 16_384 });
  const entry = Buffer.concat([Buffer.from([0x40, 1, 0x61, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4_000, 'v')]);
  const { fields: first } = decoder.decode(entry);
  expect(first[1]?.length).toBe(4_000);
  const { fields: many, tooLarge } = decoder.decode(Buffer.alloc(60_000, 0xbe));
  expect(tooLarge).toBe(true);
  expect(many.length).toBeLessThan(20);
});

function pairs(list: readonly string[]): [string, string][] {
  return Array.from({ length: list.length / 2 }, (_, i) => [list[2 * i] as string, list[2 * i + 1] as string]);
}
