import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { definitions, loads } from '@millrace/contracts';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { baseUs, source } from './ingestion-harness.ts';
import { type LoadWorld, openLoadWorld } from './load-world.ts';

const { SUCCEEDED, FAILED, CANCELLED } = loads.LoadState;
let world: LoadWorld;
let unique = 0;

beforeAll(async () => {
  world = await openLoadWorld();
});
afterAll(() => world?.close());

const airports = ['SEA', 'SFO', 'JFK'];
/** Rows that no other test loads. */
function csv(rows: number, from = unique): string {
  unique += rows;
  const lines = Array.from({ length: rows }, (_, at) => {
    const time = new Date((baseUs + (from + at) * 1e6) / 1000).toISOString();
    return `${time},${airports[at % 3]},${at % 5 === 0 ? '' : (at % 1_000) / 4},${from + at}`;
  });
  return `at,origin,delay,distance\n${lines.join('\n')}\n`;
}

function file(name: string, content: string | Uint8Array): string {
  const path = join(world.folder, name);
  writeFileSync(path, content);
  return path;
}

async function historyGrows(work: () => Promise<unknown>, by: number): Promise<void> {
  const before = Number((await world.progress()).accepted);
  if (before > 0) await eventually(async () => expect((await world.inHistory()).rows).toBe(before));
  await work();
  await eventually(async () => expect((await world.inHistory()).rows).toBe(before + by));
  const { rows, ids } = await world.inHistory();
  expect(ids).toBe(rows);
}

const load = async (location: string, over: Partial<loads.StartLoadRequest> = {}) =>
  world.settled((await world.start(location, over)).loadId);

test('a CSV file is in history row by row, and loading it again adds nothing', async () => {
  const path = file('arrivals.csv', csv(2_500));
  await historyGrows(async () => {
    expect(await load(path)).toMatchObject({
      state: SUCCEEDED,
      rows: 2_500n,
      accepted: 2_500n,
      duplicates: 0n,
      rejected: 0n,
    });
  }, 2_500);
  expect(await load(path)).toMatchObject({ state: SUCCEEDED, rows: 2_500n, accepted: 0n, duplicates: 2_500n });
  const elsewhere = file('renamed.csv', csv(2_500, unique - 2_500));
  expect(await load(elsewhere)).toMatchObject({ accepted: 0n, duplicates: 2_500n });
});

test('a file that grew adds its new rows alone; one that is written anew adds all when that is asked for', async () => {
  const path = file('grows.csv', csv(100));
  expect(await load(path)).toMatchObject({ accepted: 100n });
  appendFileSync(path, csv(50).replace(/^.*\n/, ''));
  expect(await load(path)).toMatchObject({ accepted: 50n, duplicates: 100n });
  file('grows.csv', csv(70));
  const again = definitions.WhenChanged.READ_AGAIN;
  expect(await load(path, { whenChanged: again })).toMatchObject({ accepted: 70n, duplicates: 0n });
  const { inputs } = await world.loads.listInputs({ source, limit: 0 });
  expect(inputs.find(({ uri }) => uri.endsWith('/grows.csv'))).toMatchObject({ done: true, rows: 70n, changes: 2 });
});

test('bad rows go to quarantine with number, field, reason and remedy; the others are accepted', async () => {
  const good = csv(3).trimEnd().split('\n');
  const path = file(
    'bad.csv',
    [...good, '2001-01-01,XXX,1,5', '2001-01-01,SEA,1', '2001-01-01,SEA,1,far', good[1]].join('\n'),
  );
  const done = await load(path);
  expect(done).toMatchObject({ state: SUCCEEDED, rows: 7n, accepted: 4n, rejected: 3n });
  expect(done.rejections.map(({ row, reason, field }) => [Number(row), reason, field])).toEqual([
    [4, 'NOT_IN_ENUM', 'origin'],
    [6, 'WRONG_TYPE', 'distance'],
    [5, 'MALFORMED_PAYLOAD', ''],
  ]);
  const { events } = await world.client.listQuarantine({
    source,
    reason: 'MALFORMED_PAYLOAD',
    expectation: '',
    field: '',
    afterPosition: 0n,
    limit: 1_000,
  });
  expect(events.at(-1)).toMatchObject({
    message: expect.stringContaining('line 6 has 3 columns and the header has 4'),
  });
});

test('a folder is read file by file: CSV, NDJSON, a JSON array, packed ones; other files are passed over', async () => {
  const folder = join(world.folder, 'mixed');
  mkdirSync(folder);
  const rows = (from: number) =>
    Array.from({ length: 20 }, (_, at) => ({
      at: baseUs + (unique + from + at) * 1e6,
      origin: 'SEA',
      delay: null,
      distance: from + at,
    }));
  file('mixed/a.csv.gz', gzipSync(csv(20)));
  file(
    'mixed/b.ndjson',
    rows(1_000)
      .map((row) => JSON.stringify(row))
      .join('\n'),
  );
  file('mixed/c.json', JSON.stringify(rows(2_000)));
  file('mixed/README.md', 'not data');
  unique += 4_000;
  await historyGrows(async () => {
    expect(await load(folder)).toMatchObject({
      state: SUCCEEDED,
      inputs: 3n,
      inputsDone: 3n,
      accepted: 60n,
      rejected: 0n,
    });
  }, 60);
  expect(await load(join(world.folder, 'mixed', '*.ndjson'))).toMatchObject({ inputs: 1n, duplicates: 20n });
});

test('columns that fit no field, a wrong folder and a missing file are refused with what to do', async () => {
  const misfit = await load(file('misfit.csv', 'at,origin,delay,distance,gate\n'));
  expect(misfit).toMatchObject({
    state: FAILED,
    reason: 'INVALID_ARGUMENT',
    message: expect.stringContaining('--map "gate='),
  });
  const path = file('mapped.csv', csv(5).replace('distance', 'Miles Flown'));
  const format = definitions.RowFormat.fromPartial({});
  expect(await load(path, { format: { ...format, columns: new Map([['Miles Flown', 'distance']]) } })).toMatchObject({
    accepted: 5n,
  });
  const notFound = { reason: 'INPUT_NOT_FOUND' };
  await expect(load('/etc/hostname.csv')).rejects.toMatchObject(notFound);
  await expect(load(`${import.meta.dirname}/../contract/*.json`)).rejects.toThrow('MILLRACE_INGESTION_LOAD_FOLDERS');
  await expect(load(join(world.folder, 'none.csv'))).rejects.toMatchObject(notFound);
  await expect(load(path, { bytes: 1n })).rejects.toThrow('it is another one; upload it');
  await expect(world.start(path, { source: 'nowhere' })).rejects.toMatchObject({ reason: 'UNKNOWN_SOURCE' });
  await expect(world.get('nothing')).rejects.toMatchObject({ reason: 'UNKNOWN_LOAD' });
});

test('a load can be cancelled, and going on later completes it', async () => {
  const path = file('long.csv', csv(36_000));
  const { loadId } = await world.start(path);
  await eventually(async () => expect(Number((await world.get(loadId)).rows)).toBeGreaterThan(0));
  const { load: cancelled } = await world.loads.cancelLoad({ loadId });
  expect(cancelled).toMatchObject({ state: CANCELLED });
  expect(Number(cancelled?.rows)).toBeLessThan(36_000);
  const rest = await load(path);
  expect(rest).toMatchObject({ state: SUCCEEDED });
  expect(Number(rest.accepted) + Number(cancelled?.accepted)).toBe(36_000);
  const { loads: listed } = await world.loads.listLoads({ source, limit: 2 });
  expect(listed.map(({ state }) => state)).toEqual([SUCCEEDED, CANCELLED]);
});

test('bytes that ingestion cannot see are uploaded and loaded', async () => {
  const content = Buffer.from(csv(300));
  async function* parts() {
    for (let at = 0; at < content.length; at += 1_000) yield { part: content.subarray(at, at + 1_000) };
  }
  let uploadId = '';
  for await (const answer of world.loads.uploadInput(parts())) ({ uploadId } = answer);
  const location = 'upload://laptop/data/arrivals.csv';
  expect(await load(location, { uploadId })).toMatchObject({ state: SUCCEEDED, accepted: 300n, location });
  await expect(load(location, { uploadId })).rejects.toMatchObject({ reason: 'INPUT_NOT_FOUND' });
});

test('events are checked without being published', async () => {
  const before = (await world.progress()).accepted;
  const json = Buffer.from(JSON.stringify({ at: baseUs, origin: 'XXX', delay: 1, distance: 1 }));
  const answer = await world.loads.checkEvents({ source, events: [{ id: 'x', eventTimeUs: 0n, json }] });
  expect(answer).toMatchObject({ valid: 0, rejections: [{ index: 0, reason: 'NOT_IN_ENUM', field: 'origin' }] });
  expect((await world.progress()).accepted).toBe(before);
});

/** A server for the length of one test. */
async function serving(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  work: (url: string) => Promise<void>,
) {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  try {
    await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test('a URL is loaded, again after an answer that failed or broke off', async () => {
  const text = csv(1_000);
  const seen: string[] = [];
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    seen.push(request.method ?? '');
    if (request.method === 'HEAD') return void response.writeHead(405).end();
    const gets = seen.filter((method) => method === 'GET').length;
    if (gets === 1) return void response.writeHead(503).end('busy');
    response.writeHead(200, { 'content-length': Buffer.byteLength(text) });
    if (gets > 2) return void response.end(text);
    response.write(text.slice(0, 100));
    setTimeout(() => response.destroy(), 20);
  };
  await serving(answer, async (url) => {
    expect(await load(`${url}/day/arrivals.csv?token=1`)).toMatchObject({ state: SUCCEEDED, accepted: 1_000n });
    expect(seen.filter((method) => method === 'GET')).toHaveLength(3);
  });
  await serving(
    (_, response) => response.writeHead(404).end(),
    async (url) => {
      expect(await load(`${url}/none.csv`)).toMatchObject({ state: FAILED, reason: 'INPUT_NOT_FOUND' });
    },
  );
});
