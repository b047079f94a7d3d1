import { afterAll, beforeAll, expect, test } from 'vitest';
import { type OipWorld, openOipWorld } from './oip-world.ts';

let world: OipWorld;

beforeAll(async () => {
  world = await openOipWorld();
}, 180_000);

afterAll(() => world?.close());

const url = (path: string) => `http://${world.http}${path}`;
const post = (path: string, body: string | Buffer, headers: Record<string, string> = {}) =>
  fetch(url(path), { method: 'POST', body: typeof body === 'string' ? body : new Uint8Array(body), headers });
const one = { name: 'IN', shape: [1, 4], datatype: 'FP32' };
const infer = (inputs: unknown, more: object = {}) =>
  post('/v2/models/identity/infer', JSON.stringify({ id: 'a', inputs, ...more }));

test('JSON is answered as JSON: nested data, null as NaN, and names of the model and version', async () => {
  const response = await infer([{ ...one, data: [[1, -2.5, null, 1e300]] }]);
  expect(response.status).toBe(200);
  expect(JSON.parse(await response.text())).toEqual({
    id: 'a',
    model_name: 'identity',
    model_version: expect.stringMatching(/^[0-9a-f]{12}$/),
    outputs: [{ name: 'OUT', datatype: 'FP32', shape: [1, 4], data: [1, -2.5, null, Number.POSITIVE_INFINITY] }],
  });
});

test('binary data goes in and out behind the JSON, and alone', async () => {
  const bytes = Buffer.from(Float32Array.of(1, 2, 3, 4).buffer);
  const json = Buffer.from(
    JSON.stringify({
      inputs: [{ ...one, parameters: { binary_data_size: 16 } }],
      parameters: { binary_data_output: true },
    }),
  );
  const length = { 'inference-header-content-length': String(json.length) };
  for (const [body, headers] of [
    [Buffer.concat([json, bytes]), length],
    [bytes, { 'inference-header-content-length': '0' }],
  ] as const) {
    const response = await post('/v2/models/identity/infer', body, headers);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/octet-stream']);
    const answer = Buffer.from(await response.arrayBuffer());
    const jsonLength = Number(response.headers.get('inference-header-content-length'));
    expect(JSON.parse(answer.toString('utf8', 0, jsonLength)).outputs[0].parameters).toEqual({ binary_data_size: 16 });
    expect(answer.subarray(jsonLength)).toEqual(bytes);
  }
});

test.each<[string, unknown, number, RegExp]>([
  ['negative dimensions', [{ ...one, shape: [-1, -4], data: [1, 2, 3, 4] }], 400, /cannot have shape \[-1,-4\]/],
  ['enormous dimensions', [{ ...one, shape: [2 ** 40, 4], data: [1] }], 400, /from 0 to 2147483647/],
  ['another datatype', [{ ...one, datatype: 'FP64', data: [1, 2, 3, 4] }], 400, /is FP32 and FP64 was given/],
  ['texts for numbers', [{ ...one, data: ['a', 2, 3, 4] }], 400, /"a" \(element 0\) is no FP32/],
  ['no data', [one], 400, /neither data nor binary data/],
  ['binary data that is not there', [{ ...one, parameters: { binary_data_size: 16 } }], 400, /0 bytes are left/],
  ['no inputs', undefined, 400, /inputs/],
  ['shared memory', [{ ...one, parameters: { shared_memory_region: 'r' }, data: [] }], 501, /"shared_memory_region"/],
])('%s: an error that says so, and the server goes on', async (_what, inputs, status, message) => {
  const response = await infer(inputs);
  expect([response.status, await response.json()]).toEqual([status, { error: expect.stringMatching(message) }]);
  expect((await infer([{ ...one, data: [1, 2, 3, 4] }])).status).toBe(200);
});

test('unknown models and versions are 404, what is no JSON is 400, and what is too large is 413', async () => {
  const good = JSON.stringify({ inputs: [{ ...one, data: [1, 2, 3, 4] }] });
  expect((await post('/v2/models/nope/infer', good)).status).toBe(404);
  expect((await post('/v2/models/identity/versions/9/infer', good)).status).toBe(404);
  expect((await post('/v2/models/identity/infer', '{"inputs": [')).status).toBe(400);
  const large = await post('/v2/models/identity/infer', Buffer.alloc(100 * 2 ** 20)).catch(() => undefined);
  expect([undefined, 413]).toContain(large?.status);
  expect((await post('/v2/models/identity/infer', good)).status).toBe(200);
});

test('metadata, readiness, statistics, configuration, the index and the description', async () => {
  const get = async (path: string) => (await (await fetch(url(path))).json()) as Record<string, object>;
  expect(await get('/v2')).toMatchObject({ name: 'millrace', extensions: expect.arrayContaining(['statistics']) });
  expect(await get('/v2/models/identity')).toMatchObject({
    inputs: [{ name: 'IN', datatype: 'FP32', shape: [-1, 4] }],
  });
  expect(await get('/v2/models/identity/ready')).toEqual({ name: 'identity', ready: true });
  expect(await get('/v2/models/identity/config')).toMatchObject({ input: [{ data_type: 'TYPE_FP32', dims: [-1, 4] }] });
  expect(await get('/v2/models/stats')).toMatchObject({ model_stats: expect.any(Array) });
  expect(await (await post('/v2/repository/index', '')).json()).toHaveLength(5);
  expect(Object.keys((await get('/openapi.json')).paths ?? {})).toContain('/v2/models/{model}/infer');
});
