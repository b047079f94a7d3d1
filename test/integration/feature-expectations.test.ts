import { readFileSync } from 'node:fs';
import { alerts, type compute, featureQuality } from '@millrace/contracts';
import { openNats, readStream } from '@millrace/events';
import { connect } from '@millrace/rpc';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CliWorld, openCliWorld } from './cli-world.ts';

let world: CliWorld;

const at = '2026-01-02T03:04:05Z';
/** Of user i: the first five have none, the last a negative one. */
const amounts = Array.from({ length: 100 }, (_, i) => (i < 5 ? null : i === 99 ? -1 : i));

const shop = (expectations: string, filter = '') => `
kind: entity
name: user
join_keys: { user: STRING }
---
kind: source
name: orders
fields: { user: STRING, amount: { type: DOUBLE, nullable: true } }
---
kind: feature_view
name: spend
entity: user
source: orders
features:
  orders: { function: count, window: lifetime }
  total: { function: sum, field: amount, window: lifetime${filter} }
  recent: { function: last_n, n: 3, field: amount, window: lifetime }
derived:
  average: total / double(orders)
expectations: ${expectations}
---
kind: feature_service
name: basket
features: ['spend:total', 'spend:average', 'spend:orders']
`;
const watched = `
  positive: { range: { field: total, min: 0 }, interval: 2s }
  complete: { completeness: { field: total, min_rate: 0.96 }, interval: 2s }
  low_average: { condition: average < 90.0, severity: block, interval: 2s }
  volume: { volume: { min_rows: 100 }, interval: 2s }
`;
const atLeastTen = (severity: string) =>
  `\n  at_least_ten: { range: { field: total, min: 10 }, severity: ${severity} }\n`;
const onlyPositive = ', filter: amount > 0.0';

async function apply(text: string) {
  world.write('shop.yaml', text);
  return world.millrace('apply', 'shop.yaml', '--allow-breaking');
}

/** As `get` prints it. */
async function total(user: string): Promise<string | undefined> {
  const { out } = await world.millrace('get', 'basket', `user=${user}`);
  return /spend__total.*/.exec(out)?.[0].replace(/\s+/g, ' ');
}

type Result = {
  readonly expectation: string;
  readonly outcome: string;
  readonly observed?: number;
  readonly rows: number;
  readonly message: string;
};
const quality = async (...args: string[]) => {
  const answer = await world.millrace('quality', 'spend', '--json', ...args);
  return { code: answer.code, results: answer.json<{ results: Result[] }>().results };
};

beforeAll(async () => {
  world = await openCliWorld();
});
afterAll(() => world?.close());

test('what makes no sense of a feature is refused when it is applied, with the remedy', async () => {
  const refused = await apply(
    shop(`
  aside: { not_null: total, severity: quarantine }
  alone: { unique: { fields: [total], window: 1h } }
  enough: { volume: { min_rows: 1 }, severity: block }
  listed: { not_null: recent }
  gone: { not_null: nothing }
  typed: { matches: { field: total, pattern: x } }
`),
  );
  expect(refused.code).toBe(1);
  for (const text of [
    'expectations.aside: a feature has the same value everywhere',
    'expectations.alone: an entity has one row in a view',
    'expectations.enough: looks at rows as they come',
    'expectations.listed: feature "recent" is a list or a vector',
    'expectations.gone: there is no feature "nothing"; features: orders, total, average',
    'expectations.typed: feature "total" is DOUBLE',
  ])
    expect(refused.err + refused.out).toContain(text);
});

test('rows are judged as they are written, by the numbers of brute force; failures are alerted by severity', async () => {
  expect(await apply(shop(watched))).toMatchObject({ code: 0 });
  const lines = amounts.map((amount, i) => JSON.stringify({ user: `u${i}`, amount, at }));
  // a version without any row has no data, which is never a pass: it waits
  await eventually(
    async () => {
      const { out } = await world.millrace('status', '--json');
      expect(out).toContain('low_average\\" NO_DATA');
    },
    { timeoutMs: 20_000 },
  );
  await world.feed(lines.slice(0, 1).join('\n'), 'publish', 'orders', '--time-field', 'at');
  await eventually(
    async () => {
      expect((await world.millrace('status')).out).toMatch(/spend.*READY/);
      expect(await total('u0')).toContain('NULL');
    },
    { timeoutMs: 20_000 },
  );
  await new Promise((resolve) => setTimeout(resolve, 2_300 - (Date.now() % 2_000)));
  await world.feed(lines.slice(1).join('\n'), 'publish', 'orders', '--time-field', 'at');
  const judged = await eventually(
    async () => {
      const { results } = await quality('--history');
      const ofRows = results.filter(({ rows, outcome }) => rows > 1 && outcome !== 'INSUFFICIENT_DATA');
      expect(new Set(ofRows.map(({ expectation }) => expectation)).size).toBe(4);
      return ofRows;
    },
    { timeoutMs: 30_000 },
  );
  const written = amounts.slice(1);
  const sum = (name: string, pick: (result: Result) => number) =>
    judged.filter(({ expectation }) => expectation === name).reduce((total, result) => total + pick(result), 0);
  expect(sum('positive', ({ rows }) => rows)).toBe(written.length);
  expect(sum('positive', ({ observed = 0 }) => observed)).toBe(written.filter((x) => x !== null && x < 0).length);
  expect(sum('low_average', ({ observed = 0 }) => observed)).toBe(written.filter((x) => x !== null && x >= 90).length);
  expect(sum('complete', ({ observed = 0, rows }) => observed * rows)).toBeCloseTo(
    written.filter((x) => x !== null).length,
    6,
  );
  const outcomes = (name: string) =>
    judged.filter(({ expectation }) => expectation === name).map((each) => each.outcome);
  expect(outcomes('positive')).toContain('FAIL');
  expect(outcomes('low_average')).toContain('FAIL');
  expect(
    judged.find(({ expectation, outcome }) => expectation === 'positive' && outcome === 'FAIL')?.message,
  ).toContain('first {user:u99}: feature "total" -1 is out of range');
  await eventually(async () => expect(await quality()).toMatchObject({ code: 1 }), { timeoutMs: 10_000 });

  const nats = await openNats(world.mesh.nats.url, { name: 'test' });
  const seen: string[] = [];
  const stream = { stream: 'ALERTS', fromSeq: 1, filter: 'millrace.alerts.>', signal: AbortSignal.timeout(10_000) };
  for await (const { data, pending } of readStream(nats, stream)) {
    const { dedupKey, severity } = alerts.Alert.decode(data);
    seen.push(`${dedupKey} ${severity === alerts.Severity.CRITICAL ? 'critical' : 'warning'}`);
    if (pending === 0) break;
  }
  await nats.close();
  expect(seen).toEqual(
    expect.arrayContaining([
      'feature_expectation/spend/positive/FAIL warning',
      'feature_expectation/spend/low_average/FAIL critical',
    ]),
  );
});

test('a new version whose features fail is not switched to until they pass or no longer block', async () => {
  expect(await total('u99')).toContain(' -1 ');
  expect(await apply(shop(atLeastTen('block'), onlyPositive))).toMatchObject({ code: 0 });
  const below = amounts.filter((x) => x !== null && x > 0 && x < 10).length;
  await eventually(
    async () => {
      const { out } = await world.millrace('status');
      expect(out.replace(/\s+/g, ' ')).toContain(`"at_least_ten" is not met: ${below} of 100 rows fail`);
    },
    { timeoutMs: 30_000 },
  );
  expect(await total('u99')).toContain(' -1 ');
  expect((await quality()).results).toMatchObject([{ expectation: 'at_least_ten', outcome: 'FAIL', observed: below }]);
  const moved = await apply(shop(atLeastTen('warn'), onlyPositive));
  expect(moved.code, moved.err).toBe(0);
  await eventually(async () => expect(await total('u99')).toContain('NULL'), { timeoutMs: 30_000 });
});

test('training sets and materializations of rows that fail are refused with the numbers, and made when that is allowed', async () => {
  expect(await apply(shop(atLeastTen('block'), onlyPositive))).toMatchObject({ code: 0 });
  world.write(
    'labels.csv',
    ['u7', 'u50', 'u60'].reduce((text, user) => `${text}${user},2026-01-02T03:04:06Z\n`, 'user,label_time\n'),
  );
  const build = ['training', 'build', 'basket', '--labels', 'labels.csv', '--complete', '--out', 'set.parquet'];
  const refused = await eventually(async () => {
    const answer = await world.millrace(...build);
    expect(answer.code).toBe(1);
    return answer;
  });
  expect(refused.err).toContain('"at_least_ten" of feature view "spend" is not met: 1 of 3 rows fail, first user u7');
  expect(refused.err).toContain('(EXPECTATION_FAILED)');
  const allowed = await world.millrace(...build, '--allow-failed-expectations', '--json');
  expect(allowed.code, allowed.err).toBe(0);
  expect(allowed.json<compute.TrainingSetRecord>().failedExpectations).toMatchObject([
    { view: 'spend', expectation: 'at_least_ten', severity: 'block', rows: 3 },
  ]);
  const range = [
    'materialize',
    'spend',
    '--from',
    '2026-01-02T04:00:00Z',
    '--to',
    '2026-01-02T06:00:00Z',
    '--every',
    '1h',
  ];
  const failed = await world.millrace(...range);
  expect(failed.code).toBe(1);
  expect(failed.err).toContain('is not met: 10 of 200 rows fail');
  const done = await world.millrace(...range, '--allow-failed-expectations');
  expect(done.code, done.err).toBe(0);
  expect(done.out).toContain('DONE');
});

test('results of a view that is not there are refused', async () => {
  const { services } = JSON.parse(readFileSync(`${world.dir}/.millrace/endpoints.json`, 'utf8'));
  const client = connect(featureQuality.FeatureQualityServiceService, services['feature-compute'].grpc, {
    defaultTimeoutMs: 10_000,
  });
  const asked = featureQuality.ListFeatureResultsRequest.fromPartial({ view: 'nothing' });
  await expect(client.listFeatureResults(asked)).rejects.toMatchObject({ reason: 'UNKNOWN_FEATURE_VIEW' });
  client.close();
});
