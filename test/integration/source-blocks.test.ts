import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { alerts, ingestion, loads } from '@millrace/contracts';
import { type NatsLink, openNats, readStream } from '@millrace/events';
import { connect } from '@millrace/rpc';
import { eventually } from '@millrace/testkit';
import { headers as natsHeaders } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runMillrace } from './cli-world.ts';
import { openExpectationsWorld, startUs } from './expectations-world.ts';

let world: Awaited<ReturnType<typeof openExpectationsWorld>>;
let nats: NatsLink;
let millrace: (...args: readonly string[]) => ReturnType<typeof runMillrace>;
const folder = mkdtempSync(join(tmpdir(), 'millrace-blocks-'));

const gated = (name: string, expectation: string, more = '') => `
kind: source
name: ${name}
fields: { level: { type: DOUBLE, nullable: true } }
expectations:
  gate: { ${expectation}, interval: 1s }
${more}`;
const complete = 'completeness: { field: level, min_rate: 0.9 }, severity: block';

beforeAll(async () => {
  world = await openExpectationsWorld({ MILLRACE_INGESTION_LOAD_FOLDERS: folder });
  nats = await openNats(world.mesh.nats.url, { name: 'test' });
  const dir = join(world.mesh.dir, 'work');
  mkdirSync(join(dir, '.millrace'), { recursive: true });
  const { grpc, http } = world.service;
  const { grpc: registered, http: told } = world.governance;
  const services = { ingestion: { grpc, http }, governance: { grpc: registered, http: told } };
  const endpoints = { services, stores: {} };
  writeFileSync(join(dir, '.millrace', 'endpoints.json'), JSON.stringify(endpoints));
  millrace = (...args) => runMillrace(dir, args);
});
afterAll(async () => {
  await nats?.close();
  await world?.close();
  rmSync(folder, { recursive: true, force: true });
});

const refused = { reason: 'SOURCE_BLOCKED', code: 9, metadata: { expectation: 'gate' } };
const good = (name: string, id: string) => world.send(name, [id, { level: 1 }]);

const blocksOf = async (source: string) =>
  (await world.client.listExpectationResults(ingestion.ListExpectationResultsRequest.fromPartial({ source }))).blocks;

/** Publishes what is accepted and makes its interval fail; then nothing is accepted any more. */
async function block(name: string, id = 'bad'): Promise<void> {
  await eventually(async () => expect(await world.send(name, [id, { level: null }])).toMatchObject({ accepted: 1 }));
  await eventually(async () => expect(await blocksOf(name)).toHaveLength(1), { timeoutMs: 30_000 });
  await expect(good(name, 'first')).rejects.toMatchObject(refused);
}

async function publish(name: string, id: string, fields: object): Promise<void> {
  const headers = natsHeaders();
  headers.set('Nats-Msg-Id', id);
  headers.set('Millrace-Event-Time', String(startUs));
  await nats.js.publish(`millrace.ingest.${name}`, JSON.stringify(fields), { headers });
}

const audited = async (...args: readonly string[]) =>
  (await millrace('audit', ...args, '--json')).json<{ entries: Record<string, unknown>[] }>().entries;

const setAside = async (name: string) =>
  (await world.list({ source: name })).events.map(({ eventId, reason }) => `${eventId} ${reason}`).sort();

test('an interval that fails blocks its source on every way in, with the reason and the remedy; others go on', async () => {
  await world.defineYaml(gated('meters', complete));
  await world.defineYaml(gated('others', complete));
  await block('meters');
  await expect(good('meters', 'a')).rejects.toThrow(
    /source "meters" is blocked: expectation "gate" failed from .* of .* has a value in field "level", expected at least 0\.9; .*millrace quality resume meters/,
  );
  const stream = world.client.publishStream(
    (async function* () {
      const events = [{ id: 's', eventTimeUs: BigInt(startUs), json: Buffer.from('{"level":1}') }];
      yield { batchSequence: 7n, batch: { source: 'meters', events } };
    })(),
  );
  for await (const answer of stream)
    expect(answer).toMatchObject({ batchSequence: 7n, result: undefined, reason: 'SOURCE_BLOCKED' });

  const loading = connect(loads.LoadServiceService, world.service.grpc, { defaultTimeoutMs: 20_000 });
  writeFileSync(join(folder, 'rows.csv'), 'level\n1\n2\n');
  const request = loads.StartLoadRequest.fromPartial({ source: 'meters', location: join(folder, 'rows.csv') });
  await expect(loading.startLoad(request)).rejects.toMatchObject(refused);
  loading.close();

  await publish('meters', 'n1', { level: 1 });
  await publish('meters', 'n2', { level: 'high' });
  await publish('meters', 'bad', { level: null });
  await publish('others', 'm1', { level: 1 });
  await eventually(async () => expect(await setAside('meters')).toEqual(['n1 SOURCE_BLOCKED', 'n2 WRONG_TYPE']));
  const { events } = await world.list({ source: 'meters', expectation: 'gate' });
  const explained = await world.client.explainQuarantine({
    source: 'meters',
    quarantineId: events[0]?.quarantineId ?? '',
  });
  expect(explained).toMatchObject({ wouldPass: false, event: { eventId: 'n1', reason: 'SOURCE_BLOCKED' } });
  expect(explained.remedy).toContain('millrace quality resume');
  await eventually(async () =>
    expect(await world.rows('SELECT _event_id AS id FROM events_others')).toEqual([{ id: 'm1' }]),
  );
});

async function criticalAlerts(): Promise<alerts.Alert[]> {
  const found: alerts.Alert[] = [];
  const signal = AbortSignal.timeout(10_000);
  const options = { stream: 'ALERTS', fromSeq: 1, filter: 'millrace.alerts.critical', signal } as const;
  for await (const { data, pending } of readStream(nats, options)) {
    found.push(alerts.Alert.decode(data));
    if (pending === 0) break;
  }
  return found;
}

test('the block is alerted as critical, and stands after a kill and in another process', async () => {
  expect(await criticalAlerts()).toMatchObject([{ kind: 'source_blocked', dedupKey: 'source_blocked/meters/gate' }]);
  const other = await world.mesh.service('ingestion');
  const client = connect(ingestion.IngestionServiceService, other.grpc, { defaultTimeoutMs: 20_000 });
  const event = { id: 'o', eventTimeUs: BigInt(startUs), json: Buffer.from('{"level":1}') };
  await expect(client.publish({ source: 'meters', events: [event] })).rejects.toMatchObject(refused);
  client.close();
  await other.stop();
  await world.restart();
  await expect(good('meters', 'b')).rejects.toMatchObject(refused);
  await eventually(async () =>
    expect(await (await fetch(`http://${world.service.http}/metrics`)).text()).toMatch(
      /^millrace_ingestion_source_blocked\{.*source="meters".*expectation="gate".*\} 1$/m,
    ),
  );
});

test('the command shows the block and resumes the source with what was set aside; the old interval does not block again', async () => {
  const shown = await millrace('quality', 'meters');
  expect(shown).toMatchObject({ code: 1, out: expect.stringMatching(/^BLOCKED since .*"gate"[\s\S]*resume meters$/m) });
  expect(await world.replay({ source: 'meters', reason: 'SOURCE_BLOCKED' })).toMatchObject({
    accepted: 0,
    rejected: 1,
  });
  expect((await millrace('quality', 'resume', 'nowhere')).err).toContain('UNKNOWN_SOURCE');
  expect((await millrace('quality', 'resume', 'others')).out).toMatch(/^nothing to resume/);
  const resumed = await millrace('quality', 'resume', 'meters', '--replay', '--reason', 'pump mended');
  expect(resumed).toMatchObject({ code: 0, out: expect.stringMatching(/resumed source "meters"[\s\S]*: 1 accepted/) });
  expect(await setAside('meters')).toEqual(['n2 WRONG_TYPE']);
  const me = userInfo().username;
  expect(await audited('meters')).toMatchObject([
    { kind: 'quarantine', action: 'replay', by: me, reason: 'pump mended', detail: { accepted: 1, rejected: 0 } },
    { kind: 'source', action: 'resume', by: me, reason: 'pump mended', detail: { expectation: 'gate', observed: 0 } },
    { kind: 'source', action: 'block', by: 'expectation', detail: { bound: 'at least 0.9', liftedUs: 0 } },
  ]);
  expect(await audited('--kind', 'source', '--action', 'block', '--since', '1h')).toMatchObject([{ name: 'meters' }]);
  expect(await audited('--kind', 'source', '--until', '1h')).toEqual([]);
  expect((await millrace('audit', 'meters', '--by', me)).out).toMatch(/source meters.*resume.*pump mended/);
  expect((await millrace('audit', '--since', 'yesterday')).err).toContain('neither a time');
  for (let at = 0; at < 8; at++) {
    expect(await good('meters', `good-${at}`)).toMatchObject({ accepted: 1 });
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  // an interval is judged once history has it, which a busy machine takes its time for
  const blocks = await eventually(async () => {
    const answer = await world.client.listExpectationResults(
      ingestion.ListExpectationResultsRequest.fromPartial({ source: 'meters', limit: 1_000 }),
    );
    expect(answer.results.some(({ outcome }) => outcome === ingestion.ExpectationOutcome.PASS)).toBe(true);
    return answer.blocks;
  });
  expect(blocks).toEqual([]);
  await eventually(async () =>
    expect(
      await world.rows(
        "SELECT toUInt64(toUnixTimestamp64Micro(_event_time)) AS time FROM events_meters WHERE _event_id = 'n1'",
      ),
    ).toEqual([{ time: startUs }]),
  );
  const before = (await criticalAlerts()).length;
  await block('meters', 'worse');
  await eventually(async () => expect((await criticalAlerts()).length).toBeGreaterThan(before));
  await world.defineYaml(gated('meters', complete.replace('block', 'warn')));
  await eventually(async () => expect(await good('meters', 'd')).toMatchObject({ accepted: 1 }));
});

test('a source is resumed by itself after the time it says, and a schedule that meets a block says why', async () => {
  const batch = `batch:\n  rows: { location: '${join(folder, 'scheduled-*.csv')}', schedule: '* * * * * *', time: at }\n`;
  await world.defineYaml(gated('timed', `${complete}, resume_after: 8s`, batch));
  await block('timed');
  const [standing] = await blocksOf('timed');
  expect(Number((standing?.resumesUs ?? 0n) - (standing?.blockedUs ?? 0n))).toBe(8_000_000);
  writeFileSync(join(folder, 'scheduled-1.csv'), 'at,level\n2026-01-01T00:00:00Z,1\n2026-01-01T00:00:01Z,2\n');
  const loading = connect(loads.LoadServiceService, world.service.grpc, { defaultTimeoutMs: 20_000 });
  const states = async () =>
    (await loading.listLoads({ source: 'timed', limit: 0 })).loads.filter(({ rows, reason }) => rows > 0n || reason);
  const held = { state: loads.LoadState.HELD, reason: 'SOURCE_BLOCKED', accepted: 0n, endedUs: 0n };
  await eventually(async () => expect((await states())[0]).toMatchObject(held));
  const [waiting] = await states();
  expect(waiting?.message).toContain('millrace quality resume timed');
  const shown = await millrace('loads', 'show', waiting?.loadId ?? '', '--follow');
  expect(shown.out).toMatch(/held.*\n.*SOURCE_BLOCKED[\s\S]*goes on by itself then/);
  const loaded = await eventually(
    async () => (await states()).find(({ accepted, endedUs }) => accepted > 0n && endedUs > 0n) ?? false,
    {
      timeoutMs: 30_000,
    },
  );
  expect(loaded).toMatchObject({ loadId: waiting?.loadId, state: loads.LoadState.SUCCEEDED, accepted: 2n, reason: '' });
  expect(await audited('timed', '--action', 'resume')).toMatchObject([{ by: 'resume_after' }]);
  loading.close();
  expect(await good('timed', 'after')).toMatchObject({ accepted: 1 });
});

test('an interval without data neither passes nor blocks; what cannot be done is refused with what can', async () => {
  await world.defineYaml(gated('quiet', 'volume: { min_rows: 1, max_rows: 5 }, severity: block'));
  const outcomes = async () =>
    (
      await world.client.listExpectationResults(
        ingestion.ListExpectationResultsRequest.fromPartial({ source: 'quiet', limit: 1_000 }),
      )
    ).results.map(({ outcome }) => outcome);
  await eventually(async () => expect(await outcomes()).toContain(ingestion.ExpectationOutcome.NO_DATA), {
    timeoutMs: 30_000,
  });
  expect(await good('quiet', 'a')).toMatchObject({ accepted: 1 });
  await world.send('quiet', ...Array.from({ length: 6 }, (_, at) => [`e${at}`, { level: at }] as const));
  await eventually(
    () => expect(good('quiet', 'b')).rejects.toMatchObject({ reason: 'SOURCE_BLOCKED', metadata: { check: 'volume' } }),
    { timeoutMs: 30_000 },
  );
  await expect(world.defineYaml(gated('aside', complete.replace('block', 'quarantine')))).rejects.toMatchObject({
    reason: 'INVALID_DEFINITION',
    message: expect.stringMatching(/gate.*per_batch.*set severity to warn \(the default\) or block/),
  });
});

test('an expectation that is loosened is held against the interval that failed: it still fails, or the source is resumed', async () => {
  await world.defineYaml(gated('loose', complete));
  await eventually(async () =>
    expect(await world.send('loose', ['a', { level: 1 }], ['b', { level: null }])).toMatchObject({ accepted: 2 }),
  );
  await eventually(async () => expect(await blocksOf('loose')).toHaveLength(1), { timeoutMs: 30_000 });
  await world.defineYaml(gated('loose', complete.replace('0.9', '0.6')));
  await eventually(async () =>
    expect(await blocksOf('loose')).toMatchObject([{ bound: 'at least 0.6', observed: 0.5 }]),
  );
  await expect(good('loose', 'c')).rejects.toThrow(/expected at least 0\.6;.*or loosen the expectation/);
  await world.defineYaml(gated('loose', complete.replace('0.9', '0.4')));
  await eventually(async () => expect(await good('loose', 'd')).toMatchObject({ accepted: 1 }));
  expect(await audited('loose', '--action', 'resume')).toMatchObject([
    { by: 'definition', reason: expect.stringContaining('1 of 2 has a value in field "level", expected at least 0.4') },
  ]);
});
