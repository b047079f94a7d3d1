import { readFileSync } from 'node:fs';
import { gunzipSync, inflateSync } from 'node:zlib';
import { oip } from '@millrace/contracts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  bytesOf,
  type Exchange,
  exchangesFile,
  type GrpcExchange,
  type HttpExchange,
  rawClient,
  sendGrpc,
  sendHttp,
} from './oip-exchanges.ts';
import { type OipWorld, openOipWorld } from './oip-world.ts';

/**
 * What Python's tritonclient sent once, sent again: the answers are those that it accepted, byte for byte, but for
 * the nanoseconds and `last_inference` of statistics; compressed bodies and lengths are compared after decompression.
 */
let world: OipWorld;
const exchanges: readonly Exchange[] = JSON.parse(gunzipSync(readFileSync(exchangesFile)).toString());

beforeAll(async () => {
  world = await openOipWorld();
}, 180_000);

afterAll(() => world?.close());

const statisticsPath = oip.GRPCInferenceServiceService.modelStatistics.path;

/** Statistics without the values that are times; everything that counts stays. */
const withoutTimes = (json: string) =>
  json.replace(/"(ns|last_?inference)":\s*("?)\d+\2/gi, (_, name: string) => `"${name}":"a time"`);

function grpcAnswer({ path, responses, code, details }: GrpcExchange) {
  if (path !== statisticsPath) return { code, details, responses };
  const plain = (_: string, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value instanceof Map ? [...value] : value;
  const read = responses.map((bytes) => JSON.stringify(oip.ModelStatisticsResponse.decode(bytesOf(bytes)), plain));
  return { code, details, responses: read.map(withoutTimes) };
}

/** Compressed bytes may differ with the zlib at hand; what they hold may not. */
function httpAnswer({ path, status, response }: HttpExchange) {
  const { 'content-length': _length, ...headers } = response.headers;
  const encoding = headers['content-encoding'];
  const sent = bytesOf(response.body);
  const body = encoding === 'gzip' ? gunzipSync(sent) : encoding === 'deflate' ? inflateSync(sent) : sent;
  if (path.endsWith('/stats')) return { status, headers, body: withoutTimes(body.toString()) };
  return { status, headers, body: body.toString('base64') };
}

test('every answer to the recorded requests of tritonclient is the recorded one', async () => {
  const client = rawClient(world.grpc);
  try {
    for (const [at, exchange] of exchanges.entries()) {
      const what = `exchange ${at}: ${exchange.path}`;
      if (exchange.kind === 'grpc')
        expect(grpcAnswer(await sendGrpc(client, exchange.path, exchange.requests)), what).toEqual(
          grpcAnswer(exchange),
        );
      else {
        const answer = await sendHttp(world.http, exchange.method, exchange.path, exchange.request);
        expect(httpAnswer(answer), what).toEqual(httpAnswer(exchange));
      }
    }
  } finally {
    client.close();
  }
}, 60_000);

test('the recording covers both protocols, a stream, refusals, both compressions and binary tensors', () => {
  const grpc = exchanges.filter((exchange) => exchange.kind === 'grpc');
  const http = exchanges.filter((exchange) => exchange.kind === 'http');
  expect(new Set(grpc.map(({ path }) => path.split('/').at(-1)))).toEqual(
    new Set(Object.values(oip.GRPCInferenceServiceService).map(({ path }) => path.split('/').at(-1))),
  );
  expect(grpc.some(({ requests, responses }) => requests.length === 5 && responses.length === 5)).toBe(true);
  expect(grpc.filter(({ code }) => code !== 0).length).toBeGreaterThanOrEqual(4);
  expect(http.filter(({ status }) => status >= 400).length).toBeGreaterThanOrEqual(4);
  const encodings = http.map(({ response }) => response.headers['content-encoding']);
  expect(encodings).toEqual(expect.arrayContaining(['gzip', 'deflate']));
  expect(http.some(({ response }) => response.headers['inference-header-content-length'] !== undefined)).toBe(true);
});
