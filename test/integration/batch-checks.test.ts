import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ingestion, loads } from '@millrace/contracts';
import { openNats } from '@millrace/events';
import { connect } from '@millrace/rpc';
import { eventually } from '@millrace/testkit';
import { headers as natsHeaders } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runMillrace } from './cli-world.ts';
import { openExpectationsWorld, startUs } from './expectations-world.ts';

let world: Awaited<ReturnType<typeof openExpectationsWorld>>;
let millrace: (...args: readonly string[]) => ReturnType<typeof runMillrace>;
const folder = mkdtempSync(join(tmpdir(), 'millrace-batches-'));

const meters = `
kind: source
name: meters
fields: { level: { type: DOUBLE, nullable: true }, kind: { type: STRING, nullable: true } }
expectations:
  complete: { completeness: { field: level, min_rate: 0.9 }, per_batch: { min_rows: 10 }, severity: quarantine, interval: 1s }
  size: { volume: { max_rows: 500 }, per_batch: true, severity: block, interval: 1s }
  median: { quantile: { field: level, q: 0.5, max: 100 }, per_batch: true, severity: warn, interval: 1s }
`;

beforeAll(async () => {
  world = await openExpectationsWorld({ MILLRACE_INGESTION_LOAD_FOLDERS: folder });
  const dir = join(world.mesh.dir, 'work');
  mkdirSync(join(dir, '.millrace'), { recursive: true });
  const { grpc, http } = world.service;
  const endpoints = { services: { ingestion: { grpc, http } }, stores: {} };
  writeFileSync(join(dir, '.millrace', 'endpoints.json'), JSON.stringify(endpoints));
  millrace = (...args) => runMillrace(dir, args);
  await world.defineYaml(meters);
});
afterAll(async () => {
  await world?.close();
  rmSync(folder, { recursive: true, force: true });
});

const send = (prefix: string, levels: readonly (number | null)[], source = 'meters') =>
  world.send(source, ...levels.map((level, at) => [`${prefix}${at}`, { level }, startUs + at] as const));
const many = (count: number, level: number | null) => Array.from({ length: count }, () => level);
const half = [...many(6, 1), ...many(6, null)];
const aside = async (source = 'meters') => (await world.list({ source, limit: 1_000 })).events;
const accepted = (source: string) =>
  eventually(async () => {
    const rows = await world.rows<{ id: string; us: string }>(
      `SELECT _event_id AS id, toString(toUnixTimestamp64Micro(_event_time)) AS us FROM events_${source} ORDER BY _event_time, id`,
    );
    return rows.map(({ id, us }) => `${id}@${Number(us) - startUs}`);
  });

test('a batch that fails is set aside whole, one of too few rows is accepted; the command fixes its events where they are at fault', async () => {
  expect(await send('one', [null])).toMatchObject({ accepted: 1, rejections: [] });
  const answer = await send('a', half);
  expect(answer).toMatchObject({ accepted: 0, duplicates: 0, position: 0n });
  expect(answer.rejections).toHaveLength(12);
  expect(answer.rejections[7]).toMatchObject({
    eventId: 'a7',
    reason: 'EXPECTATION_FAILED',
    expectation: 'complete',
    field: 'level',
    message: expect.stringContaining('6 of 12 has a value in field "level", expected at least 0.9'),
  });
  const [first, ...others] = await aside();
  expect(first).toMatchObject({ batchEvents: 12 });
  expect(new Set(others.map(({ batchId }) => batchId))).toEqual(new Set([first?.batchId]));
  const batch = first?.batchId ?? '';

  const explained = await millrace('quarantine', 'explain', first?.quarantineId ?? '');
  expect(explained.out).toMatch(new RegExp(`batch +${batch}, of 12 events`));
  expect(explained.out).toMatch(/^now .*6 of 12 has a value/m);
  expect(explained.out).toContain(`millrace quarantine fix meters --batch ${batch}`);
  // as it is, it is judged again, all of it together
  const tried = await millrace('quarantine', 'replay', 'meters', '--batch', batch);
  expect(tried).toMatchObject({
    code: 1,
    out: expect.stringContaining('0 accepted, 0 found to be duplicates, 12 rejected'),
  });
  const dry = await millrace('quarantine', 'fix', 'meters', '--batch', batch, '--set', 'level=3', '--dry-run');
  expect(dry.out).toContain('12 would be accepted');
  // the six without a level are too few to be judged; by their names they go in
  const ids = (await aside()).filter(({ field }) => field === 'level').map(({ quarantineId }) => quarantineId);
  expect(ids).toHaveLength(6);
  const few = await millrace('quarantine', 'fix', 'meters', '--batch', batch, '--field', 'level', '--set', 'level=3');
  expect(few).toMatchObject({ code: 1, err: expect.stringContaining('cannot be judged any more') });
  const fixed = await millrace('quarantine', 'fix', 'meters', '--set', 'level=3', '--id', ...ids);
  expect(fixed.out).toContain('6 accepted');
  const rest = (await aside()).map(({ quarantineId }) => quarantineId);
  const named = await millrace('quarantine', 'replay', 'meters', '--id', ...rest);
  expect(named).toMatchObject({ err: '', code: 0 });
  expect(await aside()).toEqual([]);
  await eventually(async () =>
    expect((await accepted('meters')).sort()).toEqual(['one0@0', ...half.map((_, at) => `a${at}@${at}`)].sort()),
  );
});

test('block refuses the batch and takes no id, warn is told; both are judged, and so is a batch of one event by its size', async () => {
  const error = await send('big', many(501, 1)).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    reason: 'EXPECTATION_FAILED',
    metadata: { expectation: 'size', observed: '501' },
  });
  expect(await send('big', many(500, 1))).toMatchObject({ accepted: 500 });
  expect(await send('high', many(20, 101))).toMatchObject({
    accepted: 20,
    warnings: [{ expectation: 'median', events: 20, message: 'the 0.5 quantile of field "level" is 101' }],
  });
  const { FAIL, INSUFFICIENT_DATA, PASS } = ingestion.ExpectationOutcome;
  const seen = async (expectation: string) => {
    const request = ingestion.ListExpectationResultsRequest.fromPartial({
      source: 'meters',
      expectation,
      limit: 1_000,
    });
    return (await world.client.listExpectationResults(request)).results;
  };
  await eventually(
    async () => {
      const outcomes = async (name: string) => new Set((await seen(name)).map(({ outcome }) => outcome));
      expect(await outcomes('size')).toEqual(new Set([...(await outcomes('size')), FAIL, PASS]));
      expect(await outcomes('median')).toContain(FAIL);
      expect(await outcomes('complete')).toContain(INSUFFICIENT_DATA);
    },
    { timeoutMs: 30_000 },
  );
  const failed = (await seen('complete')).find(({ outcome }) => outcome === FAIL);
  expect(failed?.message).toMatch(/^\d+ of \d+ batch(es)? fail; the last: 6 of 12 has a value/);
}, 60_000);

test('a file’s rows are judged by their chunks of a thousand, and what comes over NATS as it was delivered', async () => {
  const gauges = meters.replaceAll('meters', 'gauges').replace(/^ {2}size.*$/m, '');
  await world.defineYaml(gauges);
  const lines = Array.from({ length: 2_500 }, (_, at) => `2026-01-01T00:00:00Z,${at >= 1_000 && at < 2_000 ? '' : at}`);
  writeFileSync(join(folder, 'rows.csv'), `at,level\n${lines.join('\n')}\n`);
  const loading = connect(loads.LoadServiceService, world.service.grpc, { defaultTimeoutMs: 20_000 });
  const format = { timeColumn: 'at' };
  const request = loads.StartLoadRequest.fromPartial({ source: 'gauges', location: join(folder, 'rows.csv'), format });
  const { load } = await loading.startLoad(request);
  const ended = await eventually(
    async () => {
      const { load: now } = await loading.getLoad({ loadId: load?.loadId ?? '' });
      return (now?.endedUs ?? 0n) > 0n && now;
    },
    { timeoutMs: 30_000 },
  );
  loading.close();
  expect(ended).toMatchObject({ state: loads.LoadState.SUCCEEDED, accepted: 1_500n, rejected: 1_000n });
  expect(await aside('gauges')).toHaveLength(1_000);

  const nats = await openNats(world.mesh.nats.url, { name: 'test' });
  const headers = natsHeaders();
  headers.set('Nats-Msg-Id', 'alone');
  headers.set('Millrace-Event-Time', String(startUs));
  await nats.js.publish('millrace.ingest.gauges', JSON.stringify({ level: null }), { headers });
  await nats.close();
  await eventually(async () =>
    expect(await world.rows("SELECT 1 AS x FROM events_gauges WHERE _event_id = 'alone'")).toHaveLength(1),
  );
  // the source expects less now: all of it goes in
  await world.defineYaml(gauges.replace('0.9', '0'));
  await eventually(async () =>
    expect(await world.replay({ source: 'gauges', expectation: 'complete' })).toMatchObject({ rejected: 0 }),
  );
  expect(await aside('gauges')).toEqual([]);
}, 60_000);

test('what cannot be judged per batch is refused with why', async () => {
  const source = (expectation: string) =>
    `kind: source\nname: odd\nfields: { x: DOUBLE }\nexpectations: { odd: { ${expectation} } }\n`;
  const refused = async (expectation: string, message: RegExp) =>
    await expect(world.defineYaml(source(expectation))).rejects.toMatchObject({
      reason: 'INVALID_DEFINITION',
      message: expect.stringMatching(message),
    });
  await refused('not_null: x, per_batch: true', /looks at each event already/);
  await refused('freshness: 5m, per_batch: true', /not of a batch/);
  await refused('volume: { max_ratio: 2 }, per_batch: true', /compares intervals/);
  await refused('completeness: { field: x, min_rate: 1 }, per_batch: { min_rows: 0 }', /min_rows of 0/);
  await refused('completeness: { field: x, min_rate: 1 }, severity: quarantine', /per_batch/);
  await refused(
    'completeness: { field: x, min_rate: 1 }, per_batch: true, severity: block, resume_after: 1m',
    /resume_after/,
  );
  await refused('quantile: { field: x, q: 1.5, min: 0 }', /q 1\.5/);
  await refused('freshness: 5m, severity: block', /keep out the very events.*max_age/);
});
