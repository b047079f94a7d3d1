import { eventually } from '@millrace/testkit';
import { Ajv2020, type AnySchema, type ValidateFunction } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  airlineEntity,
  airlineView,
  type Flight,
  flightsSource,
  HOUR_US,
  NOON_US,
  openServingWorld,
  routeEntity,
  routeView,
  rowOf,
  type ServingWorld,
  service,
} from './serving-world.ts';

let world: ServingWorld;
let firstVersion = '';
let conforms: (method: string, route: string, code: number) => ValidateFunction;

const flight = (minutes: number): Flight => ({
  timeUs: NOON_US + minutes * 60_000_000,
  origin: 'ORD',
  destination: 'ATL',
  airlineId: 7,
  delay: 10,
  distance: 606,
  tail: 'N1',
});
const noon = '2001-03-01T12:00:00Z';
const services = '/v1/feature-services';

type Response = { readonly code: number; readonly json: never };

/** Calls, and proves that the answer is what /openapi.json says of the route. */
async function call(
  method: 'GET' | 'POST',
  route: string,
  path: string,
  body?: unknown,
  headers = {},
): Promise<Response> {
  const answer = await fetch(`http://${world.online.http}${path}`, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const json = (await answer.json()) as never;
  const validate = conforms(method.toLowerCase(), route, answer.status);
  expect(validate(json), JSON.stringify(validate.errors)).toBe(true);
  return { code: answer.status, json };
}
const read = (name: string, body: unknown, headers = {}) =>
  call('POST', `${services}/{name}/features`, `${services}/${name}/features`, body, headers);

beforeAll(async () => {
  world = await openServingWorld({ stores: ['redis', 'nats'], env: { MILLRACE_SERVING_PARTIAL_RESERVE_MS: '100' } });
  const count = { view: 'route_delays', feature: 'flights_24h', alias: 'flights' };
  await world.apply(routeEntity, airlineEntity, flightsSource, routeView, airlineView, service('delays', [count]));
  firstVersion = world.watch.current().services.get('delays')?.version ?? '';
  const mean = { view: 'route_delays', feature: 'delay_mean_24h', alias: 'delay', maxAgeUs: HOUR_US };
  const tail = { view: 'route_delays', feature: 'tail_last_24h', alias: 'tail' };
  await world.apply(
    service('delays', [count, mean, tail]),
    service('airlines', [{ view: 'airline_delays', feature: 'flights_1h', alias: 'flights' }]),
  );
  const route = world.definition('route_delays');
  await world.write(route, ['ORD', 'ATL'], rowOf(route, [flight(-60), flight(-5)]));
  const airline = world.definition('airline_delays');
  await world.write(airline, [7], rowOf(airline, [flight(-60), flight(-5)]));
  conforms = await schemas();
}, 120_000);

afterAll(() => world?.close());

async function schemas() {
  const spec = (await (await fetch(`http://${world.online.http}/openapi.json`)).json()) as AnySchema & object;
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema(spec, 'spec');
  return (method: string, route: string, code: number): ValidateFunction => {
    const at = ['paths', route, method, 'responses', code, 'content', 'application/json', 'schema'];
    const pointer = at.map((part) => encodeURIComponent(String(part).replaceAll('~', '~0').replaceAll('/', '~1')));
    const validate = ajv.getSchema(`spec#/${pointer.join('/')}`);
    if (!validate) throw new Error(`/openapi.json does not describe ${method} ${route} ${code}`);
    return validate as ValidateFunction;
  };
}

const flights = (value: unknown, status = 'PRESENT') => ({ flights: { value, status, age_ms: 300_000 } });

test('many entities, in the order of the request', async () => {
  const entities = [
    { origin: 'X', destination: 'Y' },
    { origin: 'ORD', destination: 'ATL' },
  ];
  const { code, json } = await read('delays', { entities, as_of: [noon, noon] });
  expect(code).toBe(200);
  expect(json).toMatchObject({
    feature_service: 'delays',
    rows: [
      { features: { flights: { value: null, status: 'NOT_FOUND', age_ms: null }, tail: { value: null } } },
      { as_of: '2001-03-01T12:00:00.000000Z', features: { ...flights(2), delay: { value: 10, status: 'PRESENT' } } },
    ],
  });
  const rows = (json as { rows: { features: object }[] }).rows;
  expect(Object.keys(rows[1]?.features ?? {})).toEqual(['flights', 'delay', 'tail']);
});

test('one entity by its URL, with keys of every type', async () => {
  const route = `${services}/{name}/features`;
  const one = await call('GET', route, `${services}/delays/features?origin=ORD&destination=ATL&as_of=${noon}`);
  expect(one).toMatchObject({ code: 200, json: { rows: [{ features: flights(2) }] } });
  const airline = await call(
    'GET',
    route,
    `${services}/airlines/features?airline_id=7&as_of=${NOON_US}&int64_as=string`,
  );
  expect(airline).toMatchObject({ code: 200, json: { rows: [{ features: flights('2') }] } });
  const refused: [string, string][] = [
    ['origin=ORD', 'MISSING_JOIN_KEY'],
    ['origin=ORD&destination=ATL&x=1', 'UNKNOWN_JOIN_KEY'],
    ['origin=ORD&origin=X&destination=ATL', 'INVALID_ARGUMENT'],
    ['origin=ORD&destination=ATL&as_of=noon', 'INVALID_ARGUMENT'],
    ['origin=ORD&destination=ATL&allow_partial=maybe', 'INVALID_ARGUMENT'],
  ];
  for (const [query, reason] of refused)
    expect(await call('GET', route, `${services}/delays/features?${query}`)).toMatchObject({
      code: 400,
      json: { error: { reason } },
    });
});

test('integers as text when that is asked for, whatever their size', async () => {
  const entities = [{ airline_id: '7' }, { airline_id: '9007199254740993' }];
  const text = await read('airlines', { entities, as_of: noon, int64_as: 'string' });
  expect(text.json).toMatchObject({ rows: [{ features: flights('2') }, { features: { flights: { value: null } } }] });
  const number = await read('airlines', { entities, as_of: noon });
  expect(number.json).toMatchObject({ rows: [{ features: flights(2) }, { features: { flights: { value: null } } }] });
});

test('a version is pinned by the body or by the path, and described', async () => {
  const body = { entities: [{ origin: 'ORD', destination: 'ATL' }], as_of: noon };
  const route = `${services}/{name}/versions/{version}`;
  const path = `${services}/delays/versions/${firstVersion}`;
  const answers = [
    await read('delays', { ...body, version: firstVersion }),
    await call('POST', `${route}/features`, `${path}/features`, body),
    await call('GET', `${route}/features`, `${path}/features?origin=ORD&destination=ATL&as_of=${noon}`),
  ];
  for (const { code, json } of answers) {
    expect(code).toBe(200);
    expect(json).toEqual({
      feature_service: 'delays',
      version: firstVersion,
      rows: [{ as_of: '2001-03-01T12:00:00.000000Z', features: flights(2) }],
    });
  }
  const described = await call('GET', route, path);
  expect(described.json).toMatchObject({ name: 'delays', version: firstVersion, features: [{ name: 'flights' }] });
  const current = await call('GET', `${services}/{name}`, `${services}/delays`);
  expect(current.json).toMatchObject({
    join_keys: [{ name: 'origin', type: 'STRING' }, { name: 'destination' }],
    features: [{ max_age_ms: null }, { name: 'delay', type: 'DOUBLE', max_age_ms: 3_600_000 }, {}],
  });
  expect((await call('GET', services, services)).json).toMatchObject({ feature_services: [{}, {}] });
  const both = await call('POST', `${route}/features`, `${path}/features`, { ...body, version: 'other' });
  expect(both).toMatchObject({ code: 400, json: { error: { reason: 'INVALID_ARGUMENT' } } });
  expect((await call('GET', route, `${services}/delays/versions/abc`)).code).toBe(404);
  expect((await call('GET', `${services}/{name}`, `${services}/nope`)).code).toBe(404);
});

test('a paused store: what is ready by the deadline where that is allowed, else 504', async () => {
  const body = { entities: [{ origin: 'ORD', destination: 'ATL' }], as_of: noon };
  process.kill(world.mesh.redis.pid, 'SIGSTOP');
  try {
    const partial = await read('delays', { ...body, allow_partial: true }, { 'x-timeout-ms': '400' });
    expect(partial).toMatchObject({
      code: 200,
      json: { rows: [{ features: { flights: { value: null, status: 'UNAVAILABLE' } } }] },
    });
    expect((await read('delays', body, { 'x-timeout-ms': '200' })).code).toBe(504);
  } finally {
    process.kill(world.mesh.redis.pid, 'SIGCONT');
  }
  await eventually(async () => (await read('delays', body)).code === 200);
});

test('/docs is a page that needs nothing from elsewhere', async () => {
  const page = await fetch(`http://${world.online.http}/docs`);
  expect(page.headers.get('content-type')).toContain('text/html');
  const html = await page.text();
  const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link ?? '');
  expect(links.length).toBeGreaterThan(3);
  for (const link of links) {
    const url = new URL(link, page.url);
    expect(url.host).toBe(world.online.http);
    expect((await fetch(url)).status, link).toBe(200);
  }
  const json = await fetch(`http://${world.online.http}/docs/json`);
  expect(await json.json()).toMatchObject({ openapi: '3.1.0' });
});
