import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { feastGrpc, feastServing } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import {
  allFeatures,
  bool,
  double,
  entity,
  feature,
  featureService,
  featureView,
  int64,
  lifetime,
  source,
  string,
  timestamp,
} from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FullMesh, startFullMesh } from '../support/full-mesh.ts';
import { compareVectors } from './feast-vectors.ts';

/** What the real Feast said on the wire (test/fixtures/feast/record.py), said to the mesh. */
type HttpCase = { readonly path: string; readonly body: string; readonly status: number; readonly answer: string };
type SdkCase = {
  readonly requests: readonly {
    readonly path: string;
    readonly headers: Record<string, string>;
    readonly body: string;
  }[];
  readonly answer: string;
};
type GrpcCase = {
  readonly method: 'GetOnlineFeatures' | 'Push' | 'WriteToOnlineStore';
  readonly request: string;
  readonly answer?: string;
  readonly code?: string;
};
const recorded = <T>(name: string) =>
  JSON.parse(readFileSync(join(import.meta.dirname, '..', 'fixtures', 'feast', name), 'utf8')) as Record<string, T>;
const httpCases = recorded<HttpCase>('http.json');
const sdkCases = recorded<SdkCase>('sdk.json');
const grpcCases = recorded<GrpcCase>('grpc.json');

const driver = entity('driver', { joinKeys: { driver_id: 'INT64' } });
const driverEvents = source('driver_events', {
  key: 'driver_id',
  fields: {
    driver_id: int64(),
    trips: int64({ nullable: true }),
    rating: double({ nullable: true }),
    city: string({ nullable: true }),
    active: bool({ nullable: true }),
    since: timestamp({ nullable: true }),
  },
});
const stats = featureView('driver_stats', {
  entity: driver,
  source: driverEvents,
  features: (of) => ({
    trips: of.last('trips', { window: lifetime() }),
    rating: of.last('rating', { window: lifetime() }),
    city: of.last('city', { window: lifetime() }),
    active: of.last('active', { window: lifetime() }),
    since: of.last('since', { window: lifetime() }),
  }),
});
const other = featureView('driver_other', {
  entity: driver,
  source: driverEvents,
  features: (of) => ({ trips: of.last('trips', { window: lifetime() }) }),
  derived: { trips_and_one: 'trips + 1' },
});
const service = featureService('driver_service', { features: [allFeatures(stats)] });
const quoted = featureService('driver_quote', {
  features: [feature(stats, 'rating', { as: 'rating' })],
  request: { km: double() },
  derived: { price: 'rating * km' },
});

let mesh: FullMesh;
let base = '';

beforeAll(async () => {
  mesh = await startFullMesh();
  base = `http://${mesh.service('online-serving').http}`;
  await mesh.apply(driver, driverEvents, stats, other, service, quoted);
  await mesh.viewsReady(2);
  // the rows that record.py gave to the real Feast, in the words in which its SDK sends them
  const rows = sdkCases.write?.requests[0]?.body ?? '';
  await post('/write-to-online-store', rows.replace('[1005, 1006]', '[1001, 1002]'));
  await readable([1001, 1002]);
}, 180_000);

afterAll(() => mesh?.close());

const jsonHeaders = { 'content-type': 'application/json' };

async function post(path: string, body: string, headers: Record<string, string> = jsonHeaders) {
  const response = await fetch(`${base}${path}`, { method: 'POST', body, headers });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

async function readable(ids: readonly number[], feature = 'driver_stats:trips'): Promise<void> {
  await eventually(async () => {
    const { text } = await post(
      '/get-online-features',
      JSON.stringify({ entities: { driver_id: ids }, features: [feature] }),
    );
    return !text.includes('NOT_FOUND');
  });
}

type Vector = { readonly values: unknown[]; readonly statuses: string[]; readonly event_timestamps: string[] };

/** Columns by name, numbers as the digits that were sent: JSON.parse would round those beyond 2^53. */
function columns(text: string): { readonly names: string[]; readonly byName: Record<string, Vector> } {
  const answer = JSON.parse(text, ((_key: string, value: unknown, context: { source?: string }) =>
    typeof value === 'number' ? (context.source ?? '') : value) as (key: string, value: unknown) => unknown) as {
    results: Vector[];
    metadata: { feature_names: string[] };
  };
  const names = answer.metadata.feature_names;
  expect(answer.results.length).toBe(names.length);
  return { names, byName: Object.fromEntries(names.map((name, i) => [name, answer.results[i] as Vector])) };
}

/** Feast stores whole seconds. */
function inWholeSeconds(byName: Record<string, Vector>): Record<string, Vector> {
  return Object.fromEntries(
    Object.entries(byName).map(([name, vector]) => [
      name,
      { ...vector, event_timestamps: vector.event_timestamps.map((time) => time.replace(/\.\d+Z$/, 'Z')) },
    ]),
  );
}

const reads = [
  'list',
  'list, one',
  'full names',
  'service',
  'text for an int64 key',
  'entity name for its join key',
  'missing',
  'version metadata',
  'extra entity',
];

test.each(reads)('HTTP read "%s" answers what the real server answered, in the order of the request', async (name) => {
  const one = httpCases[name] as HttpCase;
  const { status, text, headers } = await post(one.path, one.body);
  expect(status).toBe(200);
  expect(headers.get('content-type')).toContain('application/json');
  const ours = columns(text);
  const theirs = columns(one.answer);
  expect(inWholeSeconds(ours.byName)).toEqual(theirs.byName);
  const wanted = JSON.parse(one.body) as { features?: string[]; full_feature_names?: boolean };
  const separator = wanted.full_feature_names ? '__' : '';
  const order = (wanted.features ?? ['trips', 'rating', 'city', 'active', 'since'].map((f) => `driver_stats:${f}`)).map(
    (ref) => (separator ? ref.replace(':', separator) : ref.slice(ref.indexOf(':') + 1)),
  );
  expect(ours.names).toEqual(['driver_id', ...order]);
});

test('integers beyond 2^53 are exact in both directions, and times keep their microseconds', async () => {
  const key = 9_007_199_254_740_995n;
  const frame = `{"driver_id":[${key}],"trips":[-9223372036854775808],"event_timestamp":["2026-01-02 03:04:05.678911+00:00"]}`;
  expect((await post('/push', `{"push_source_name":"driver_events","df":${frame}}`)).status).toBe(200);
  await eventually(async () => {
    const { text } = await post(
      '/get-online-features',
      `{"entities":{"driver_id":[${key},"${key}"]},"features":["driver_stats:trips"]}`,
    );
    const { driver_id: keys, trips } = columns(text).byName;
    expect(keys?.values).toEqual([String(key), String(key)]);
    expect(trips?.values).toEqual(['-9223372036854775808', '-9223372036854775808']);
    expect(trips?.event_timestamps[0]).toBe('2026-01-02T03:04:05.678911Z');
    return true;
  });
});

test('a null of a known entity is NULL_VALUE, where Feast says PRESENT', async () => {
  const pushed = httpCases['push, null'] as HttpCase;
  expect((await post(pushed.path, pushed.body)).status).toBe(200);
  await readable([1010], 'driver_stats:rating');
  const one = httpCases.null as HttpCase;
  const { trips, rating } = columns((await post(one.path, one.body)).text).byName;
  const theirs = columns(one.answer).byName;
  expect(theirs.trips?.statuses).toEqual(['PRESENT']);
  expect([trips?.values, trips?.statuses]).toEqual([[null], ['NULL_VALUE']]);
  expect([rating?.values, rating?.statuses]).toEqual([theirs.rating?.values, theirs.rating?.statuses]);
});

/** What the caller did wrong is 4xx, where Feast often says 500: FEAST.md has the table. */
const refusals: Readonly<Record<string, readonly [status: number, feastClass: string]>> = {
  'unknown view': [404, 'FeatureViewNotFoundException'],
  'unknown feature': [404, 'FeastObjectNotFoundException'],
  'not a reference': [422, 'FeastError'],
  'unknown service': [404, 'FeatureServiceNotFoundException'],
  collision: [422, 'FeatureNameCollisionError'],
  twice: [422, 'FeatureNameCollisionError'],
  'unknown entity': [422, 'FeastError'],
  'no entity': [422, 'FeastError'],
  'no row': [422, 'FeastError'],
  ragged: [422, 'FeastError'],
  'null key': [422, 'FeastError'],
  'wrong key': [422, 'FeastError'],
  'no features': [422, 'FeastError'],
  'push, unknown source': [422, 'PushSourceNotFoundException'],
  'push, bad to': [422, 'FeastError'],
  'push, ragged': [422, 'FeastError'],
  'write, unknown view': [404, 'FeatureViewNotFoundException'],
  'materialize, unknown view': [404, 'FeatureViewNotFoundException'],
  'materialize, no times': [422, 'FeastError'],
};

test.each(Object.entries(refusals))('"%s" is refused with %s', async (name, [status, feastClass]) => {
  const one = httpCases[name] as HttpCase;
  const answer = await post(one.path, one.body);
  expect(answer.status).toBe(status);
  // where Feast itself does not blame itself, the status is Feast's
  if (one.status < 500) expect(status).toBe(one.status);
  const detail = JSON.parse(JSON.parse(answer.text)) as Record<string, string>;
  expect(detail).toMatchObject({ module: 'feast.errors', class: feastClass });
  expect(detail.message?.length).toBeGreaterThan(20);
});

test.each(['not json', 'no entities', 'push, no df'])(
  'a body that is "%s" gets 422 and FastAPI\'s shape',
  async (name) => {
    const one = httpCases[name] as HttpCase;
    const answer = await post(one.path, one.body);
    expect(answer.status).toBe(one.status);
    const shape = (text: string) => (JSON.parse(text) as { detail: { type: string; loc: unknown[] }[] }).detail[0];
    expect(shape(answer.text)?.type).toBe(shape(one.answer)?.type);
    expect(shape(answer.text)?.loc[0]).toBe('body');
  },
);

test.each(['push', 'write'])('HTTP "%s" as the real server took it is readable', async (name) => {
  const one = httpCases[name] as HttpCase;
  const answer = await post(one.path, one.body);
  expect([answer.status, answer.text]).toEqual([one.status, one.answer]);
  const { df } = JSON.parse(one.body) as { df: { driver_id: number[] } };
  await readable(df.driver_id);
  const { text } = await post(
    '/get-online-features',
    JSON.stringify({
      entities: { driver_id: df.driver_id },
      features: JSON.parse(httpCases.pushed?.body ?? '').features,
    }),
  );
  const theirs = columns(httpCases.pushed?.answer ?? '').byName;
  expect(inWholeSeconds(columns(text).byName)).toEqual({
    ...theirs,
    driver_id: { ...theirs.driver_id, values: df.driver_id.map(String) },
  });
});

test('materialize answers that nothing was left to do, with the status that Feast gives', async () => {
  for (const name of ['materialize', 'materialize, async', 'materialize-incremental']) {
    const one = httpCases[name] as HttpCase;
    const answer = await post(one.path, one.body);
    expect(answer.status).toBe(one.status);
    expect(JSON.parse(answer.text)).toMatchObject({ message: expect.stringContaining('nothing was left to do') });
  }
  expect((await fetch(`${base}/health`)).status).toBe(200);
});

test.each(Object.keys(sdkCases))('the SDK\'s requests of "%s" are answered as the SDK expects', async (name) => {
  const one = sdkCases[name] as SdkCase;
  expect(one.requests.length).toBeGreaterThan(0);
  for (const request of one.requests) {
    const answer = await post(request.path, request.body, request.headers);
    expect(answer.status).toBe(200);
    if (one.answer === 'null') expect(answer.text).toBe('null');
    else expect(inWholeSeconds(columns(answer.text).byName)).toEqual(columns(one.answer).byName);
  }
  if (one.answer === 'null') await readable([1005, 1006]);
});

test('rows that the source does not take are 422 with the row and the reason', async () => {
  const push = (df: object) => post('/push', JSON.stringify({ push_source_name: 'driver_events', df }));
  const time = ['2026-01-02T03:04:05'];
  const messageOf = async (df: object) => {
    const { status, text } = await push(df);
    expect(status).toBe(422);
    return (JSON.parse(JSON.parse(text)) as { message: string }).message;
  };
  expect(await messageOf({ driver_id: [null], event_timestamp: time })).toContain('row 0 was not accepted');
  expect(await messageOf({ driver_id: [1], trips: ['x'], event_timestamp: time })).toContain('column "trips" of row 0');
  expect(await messageOf({ driver_id: [1], tips: [1], event_timestamp: time })).toContain('column "tips" is no field');
  expect(await messageOf({ driver_id: [1] })).toContain('no column "event_timestamp"');
  expect(await messageOf({ driver_id: [1], event_timestamp: ['soon'] })).toContain('is not a time');
});

test('derived features are read by reference, on-demand ones with their request data among the entities', async () => {
  const { text: derived } = await post(
    '/get-online-features',
    '{"entities":{"driver_id":[1002,77]},"features":["driver_other:trips_and_one"]}',
  );
  const { trips_and_one: plusOne } = columns(derived).byName;
  expect([plusOne?.values, plusOne?.statuses]).toEqual([
    ['-6', null],
    ['PRESENT', 'NOT_FOUND'],
  ]);
  const { status, text } = await post(
    '/get-online-features',
    '{"entities":{"driver_id":[1001,1002],"km":[2,10.5]},"feature_service":"driver_quote"}',
  );
  expect([status, text.length > 0]).toEqual([200, true]);
  const { names, byName } = columns(text);
  expect(names).toEqual(['driver_id', 'rating', 'price']);
  expect(byName.price?.values).toEqual(['9.0', '31.5']);
  const missing = await post(
    '/get-online-features',
    '{"entities":{"driver_id":[1001]},"feature_service":"driver_quote"}',
  );
  expect([missing.status, missing.text]).toEqual([422, expect.stringContaining('km')]);
});

test('a push with an idempotency key can be sent again', async () => {
  const body = JSON.stringify({
    push_source_name: 'driver_events',
    df: { driver_id: [2002], trips: [1], event_timestamp: ['2026-01-02T03:04:05'] },
  });
  const headers = { ...jsonHeaders, 'idempotency-key': 'once' };
  for (let i = 0; i < 2; i++) expect((await post('/push', body, headers)).status).toBe(200);
  const { sources } = await mesh.clients.ingestion.getProgress({ source: 'driver_events' });
  expect(sources[0]?.duplicates).toBe(1n);
});

type Raw = Buffer;
const raw = { serialize: (bytes: never) => bytes as Raw, deserialize: (bytes: Buffer) => bytes };

test.each(Object.entries(grpcCases))('gRPC "%s" of the real stub is answered', async (name, one) => {
  const address = mesh.service('online-serving').grpc;
  const method = `${one.method[0]?.toLowerCase()}${one.method.slice(1)}` as 'getOnlineFeatures';
  const codecs = { [method]: raw };
  const services = [
    connect(feastGrpc.GrpcFeatureServerService, address, { codecs }),
    ...(method === 'getOnlineFeatures' ? [connect(feastServing.ServingServiceService, address, { codecs })] : []),
  ];
  for (const client of services) {
    const call = (client as Record<string, unknown>)[method] as (request: Buffer) => Promise<Buffer>;
    const request = Buffer.from(one.request, 'hex');
    if (one.code !== undefined && !acceptedHere.has(name)) {
      await expect(call(request)).rejects.toMatchObject({ reason: expect.any(String), code: grpcRefusals[name] });
    } else if (method !== 'getOnlineFeatures') expect((await call(request)).toString('hex')).toBe('0801');
    else compareVectors(await call(request), Buffer.from(one.answer ?? '', 'hex'));
    client.close();
  }
  if (one.method !== 'GetOnlineFeatures' && grpcRefusals[name] === undefined) await readable([pushedId(one)]);
});

/** google.rpc.Code of what is refused; an unknown service is NOT_FOUND here and INTERNAL in Feast. */
const grpcRefusals: Readonly<Record<string, number>> = {
  'unknown service': 5,
  'push, both': 3,
  'push, unknown source': 3,
};
/** Feast fails on texts for numbers; here a push of texts is read by the types of the source's fields. */
const acceptedHere: ReadonlySet<string> = new Set(['push']);

function pushedId(one: GrpcCase): number {
  const decode = one.method === 'Push' ? feastGrpc.PushRequest.decode : feastGrpc.WriteToOnlineStoreRequest.decode;
  const { features, typedFeatures } = decode(Buffer.from(one.request, 'hex'));
  const typed = typedFeatures.get('driver_id')?.val;
  return Number(typed?.$case === 'int64Val' ? typed.value : features.get('driver_id'));
}

test('the serving info names the release whose contracts are spoken', async () => {
  const client = connect(feastServing.ServingServiceService, mesh.service('online-serving').grpc);
  expect(await client.getFeastServingInfo({})).toEqual({ version: '0.67.0' });
  client.close();
});
