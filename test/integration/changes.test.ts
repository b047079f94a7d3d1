import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { definitions, ingestion, type loads } from '@millrace/contracts';
import { createPublisher, openNats } from '@millrace/events';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LoadWorld, openLoadWorld } from './load-world.ts';

const { DOUBLE, STRING, TIMESTAMP } = definitions.FieldType;
const upsert: Partial<definitions.Source> = {
  fields: definitions.Source.fromPartial({
    fields: [
      { name: 'id', type: STRING },
      { name: 'at', type: TIMESTAMP },
      { name: 'amount', type: DOUBLE, nullable: true },
    ],
  }).fields,
  changes: definitions.Changes.UPSERT,
};
const time = '2024-05-01T00:00:00Z';
let world: LoadWorld;
let nats: Awaited<ReturnType<typeof openNats>>;
let publisher: ReturnType<typeof createPublisher>;

beforeAll(async () => {
  world = await openLoadWorld();
  nats = await openNats(world.mesh.nats.url, { name: 'test' });
  publisher = createPublisher(nats, { maxInFlight: 8 });
  await world.define(upsert, 'plain');
  await world.define(upsert, 'files');
  await world.define({ ...upsert, eventTimeField: 'at', debezium: { idColumns: ['id'] } }, 'tables');
  await eventually(async () => (await world.client.getProgress({ source: '' })).sources.length === 4);
}, 60_000);
afterAll(async () => {
  await nats?.close();
  await world?.close();
});

async function current(source: string): Promise<string> {
  const query = `SELECT _event_id, amount FROM millrace.current_${source} ORDER BY _event_id FORMAT TSV`;
  const response = await fetch(`${world.mesh.clickhouse.url}/?query=${encodeURIComponent(query)}`);
  return response.ok ? (await response.text()).trim().replaceAll('\t', '=').replaceAll('\n', ' ') : '';
}
const send = (source: string, body: object | undefined, headers: Readonly<Record<string, string>> = {}) =>
  publisher.publish(`millrace.ingest.${source}`, Buffer.from(body === undefined ? '' : JSON.stringify(body)), {
    headers,
    signal: AbortSignal.timeout(10_000),
  });

test('over NATS, an event is corrected and deleted by its id, in a header or in a CloudEvent', async () => {
  const fields = (amount: number) => ({ id: 'x', at: time, amount });
  const headers = (id: string) => ({ 'Millrace-Event-Id': id, 'Millrace-Event-Time': time });
  const cloud = (id: string, rest: object) => ({ specversion: '1.0', type: 't', source: 's', id, time, ...rest });
  await send('plain', fields(1), headers('a'));
  await send('plain', fields(2), headers('a'));
  await send('plain', fields(3), headers('b'));
  await send('plain', undefined, { ...headers('b'), 'Millrace-Operation': 'delete' });
  await send('plain', cloud('c', { data: fields(4) }));
  await send('plain', cloud('d', { data: fields(5) }));
  await send('plain', cloud('c', { millraceoperation: 'delete' }));
  await eventually(async () => (await current('plain')) === 'a=2 s#d=5', { timeoutMs: 20_000 });
  await send('plain', fields(6), { ...headers('a'), 'Millrace-Operation': 'truncate' });
  const found = await eventually(async () => {
    const { events } = await world.client.listQuarantine(
      ingestion.ListQuarantineRequest.fromPartial({ source: 'plain' }),
    );
    return events[0] ?? false;
  });
  expect(found).toMatchObject({ reason: 'INVALID_ARGUMENT', message: expect.stringContaining('"truncate"') });
});

test("Debezium's change events make the table as it is; one that was set aside does not undo a later one when it is replayed", async () => {
  const after = (id: string, amount: unknown) => ({ id, at: time, amount });
  const change = (op: string, before: object | null, row: object | null) => ({
    before,
    after: row,
    op,
    ts_ms: Date.parse(time),
  });
  await send('tables', change('r', null, after('1', 1)));
  await send('tables', change('c', null, after('2', 2)));
  await send('tables', change('u', after('1', 1), after('1', 'broken')));
  await send('tables', { schema: {}, payload: change('u', after('1', 1), after('1', 10)) });
  await send('tables', change('c', null, after('3', 3)));
  await send('tables', change('d', { id: '3' }, null));
  await eventually(async () => (await current('tables')) === '1=10 2=2', { timeoutMs: 20_000 });
  const replayed = await world.client.replayQuarantine(
    ingestion.ReplayQuarantineRequest.fromPartial({ source: 'tables', mergePatchJson: Buffer.from('{"amount":7}') }),
  );
  expect(replayed).toMatchObject({ accepted: 0, duplicates: 1, rejected: 0 });
  expect(await current('tables')).toBe('1=10 2=2');
});

test('a file says what becomes of each row, and one with the same ids and another content corrects them', async () => {
  const format = definitions.RowFormat.fromPartial({ idColumns: ['id'], timeColumn: 'at', operationColumn: 'op' });
  const load = async (name: string, lines: readonly string[], over: Partial<loads.StartLoadRequest> = {}) => {
    writeFileSync(join(world.folder, name), `${['op,id,at,amount', ...lines].join('\n')}\n`);
    const request = { source: 'files', format, ...over };
    return world.settled((await world.start(join(world.folder, name), request)).loadId);
  };
  const first = await load('a.csv', [`insert,1,${time},1`, `c,2,${time},2`, `u,1,${time},3`, 'd,2,,', `,4,${time},4`]);
  expect(first).toMatchObject({ accepted: 5n, rejected: 0n });
  await eventually(async () => (await current('files')) === '1=3 4=4', { timeoutMs: 20_000 });
  const second = await load('a.csv', [`c,1,${time},3`, `c,4,${time},5`, `merge,5,${time},5`]);
  expect(second).toMatchObject({ accepted: 1n, duplicates: 1n, rejected: 1n });
  await eventually(async () => (await current('files')) === '1=3 4=5', { timeoutMs: 20_000 });
  const refused = await load('b.csv', [`c,1,${time},3`], { source: 'arrivals' });
  expect(refused.message).toContain('changes: upsert');
});

test('what changes once does so for good', async () => {
  await expect(world.define({ ...upsert, changes: definitions.Changes.APPEND }, 'plain')).rejects.toThrow(
    /was upsert and cannot become append/,
  );
  await expect(world.define({ debezium: { idColumns: ['id'] } }, 'other')).rejects.toThrow(/needs changes: upsert/);
});
