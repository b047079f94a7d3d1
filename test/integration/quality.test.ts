import { alerts, ingestion } from '@millrace/contracts';
import { openNats, readStream } from '@millrace/events';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openExpectationsWorld, startUs } from './expectations-world.ts';

let world: Awaited<ReturnType<typeof openExpectationsWorld>>;

beforeAll(async () => {
  world = await openExpectationsWorld();
});
afterAll(() => world?.close());

const list = (source: string, over: Parameters<typeof ingestion.ListExpectationResultsRequest.fromPartial>[0] = {}) =>
  world.client.listExpectationResults(
    ingestion.ListExpectationResultsRequest.fromPartial({ source, limit: 1_000, ...over }),
  );
const nameOf = (outcome: number) => Object.keys(ingestion.ExpectationOutcome)[outcome];

const readings = `
kind: source
name: readings
fields: { level: { type: DOUBLE, nullable: true }, site: STRING }
expectations:
  positive: { range: { field: level, min: 0 }, severity: warn, interval: 2s }
  complete: { completeness: { field: level, min_rate: 0.9 }, interval: 2s }
  sites: { distinctness: { field: site, min_rate: 0.5 }, interval: 2s }
  volume: { volume: { min_rows: 50, max_rows: 150 }, interval: 2s }
  fresh: { freshness: 1h, interval: 2s }
  bins: { distribution: { field: level, edges: [50], counts: [500, 500] }, interval: 2s }
  places: { distribution: { field: site, categories: [a, b], counts: [500, 500, 0] }, interval: 2s }
  shape: { distribution: { field: level, metric: ks, values: [${Array.from({ length: 100 }, (_, at) => at).join(', ')}] }, interval: 2s }
`;

test('intervals are judged over what was accepted; without data there is no pass, and failures are alerted', async () => {
  const nats = await openNats(world.mesh.nats.url, { name: 'test' });
  await world.defineYaml(readings);
  await eventually(async () =>
    expect((await world.send('readings', ['first', { level: 1, site: 'a' }])).accepted).toBe(1),
  );
  // into one interval, away from its ends
  await new Promise((resolve) => setTimeout(resolve, 2_300 - (Date.now() % 2_000)));
  const sentUs = Date.now() * 1_000;
  const events = Array.from({ length: 100 }, (_, at) => {
    const level = at < 5 ? null : at === 99 ? -1 : at;
    return [`e${at}`, { level, site: at % 2 === 0 ? 'a' : 'b' }] as const;
  });
  expect(await world.send('readings', ...events)).toMatchObject({
    accepted: 100,
    warnings: [{ expectation: 'positive', events: 1 }],
  });
  const judged = await eventually(
    async () => {
      const { results } = await list('readings');
      const mine = results.filter(({ startUs: from, endUs: to }) => Number(from) <= sentUs && sentUs < Number(to));
      expect(mine).toHaveLength(8);
      return mine;
    },
    { timeoutMs: 30_000 },
  );
  expect(Object.fromEntries(judged.map(({ expectation, outcome }) => [expectation, nameOf(outcome)]))).toEqual({
    positive: 'FAIL',
    complete: 'PASS',
    sites: 'FAIL',
    volume: 'PASS',
    fresh: 'FAIL',
    bins: 'PASS',
    places: 'PASS',
    shape: 'PASS',
  });
  const observed = Object.fromEntries(judged.map(({ expectation, observed: value }) => [expectation, value]));
  expect(observed).toMatchObject({ positive: 1, complete: 0.95, sites: 0.02, volume: 100 });
  expect(observed.fresh).toBeGreaterThan((Date.now() - startUs / 1_000 - 60_000) * 1_000);

  // the next interval is empty
  await eventually(
    async () => {
      const { results } = await list('readings', { latest: true });
      const outcomes = Object.fromEntries(results.map(({ expectation, outcome }) => [expectation, nameOf(outcome)]));
      expect(outcomes).toMatchObject({ positive: 'NO_DATA', complete: 'NO_DATA', volume: 'NO_DATA', shape: 'NO_DATA' });
    },
    { timeoutMs: 30_000 },
  );
  const seen: string[] = [];
  for await (const { data, pending } of readStream(nats, {
    stream: 'ALERTS',
    fromSeq: 1,
    filter: 'millrace.alerts.warning',
    signal: AbortSignal.timeout(10_000),
  })) {
    seen.push(alerts.Alert.decode(data).dedupKey);
    if (pending === 0) break;
  }
  expect(seen).toEqual(
    expect.arrayContaining([
      'expectation/readings/positive/FAIL',
      'expectation/readings/sites/FAIL',
      'expectation/readings/volume/NO_DATA',
    ]),
  );
  await nats.close();
});

test('an interval is judged once, also across a kill, and none is left out', async () => {
  await world.restart();
  await eventually(
    async () => {
      const { results } = await list('readings', { expectation: 'volume' });
      const starts = results.map(({ startUs: from }) => Number(from)).reverse();
      expect(Date.now() * 1_000 - (starts.at(-1) ?? 0)).toBeLessThan(8_000_000);
      expect(starts).toEqual(starts.map((_, at) => (starts[0] ?? 0) + at * 2_000_000));
      expect(starts.length).toBeGreaterThan(3);
    },
    { timeoutMs: 30_000 },
  );
  await expect(list('nowhere')).rejects.toMatchObject({ reason: 'UNKNOWN_SOURCE' });
});
