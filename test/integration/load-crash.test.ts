import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loads } from '@millrace/contracts';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { baseUs } from './ingestion-harness.ts';
import { type LoadWorld, openLoadWorld } from './load-world.ts';

const { SUCCEEDED, FAILED } = loads.LoadState;
const files = 4;
const rowsPerFile = 9_000;
const total = files * rowsPerFile;
const keyId = 'AKIDEXAMPLE';

let world: LoadWorld;
let bucket: Server;
const objects = new Map<string, string>();
const requests: IncomingMessage[] = [];

function csv(from: number, rows: number): string {
  const lines = Array.from({ length: rows }, (_, at) => `${baseUs + (from + at) * 1e6},SEA,1.5,${from + at}`);
  return `at,origin,delay,distance\n${lines.join('\n')}\n`;
}

const etag = (content: string) => createHash('md5').update(content).digest('hex');

/** The part of S3 that a reader needs: ListObjectsV2 in pages of two, and GET; both only for signed requests. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  requests.push(request);
  const url = new URL(request.url ?? '', 'http://s3');
  const signed =
    /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-north-1\/s3\/aws4_request, SignedHeaders=\S+, Signature=[0-9a-f]{64}$/;
  if (!signed.test(request.headers.authorization ?? ''))
    return void response.writeHead(403).end('<Error><Code>AccessDenied</Code></Error>');
  if (url.searchParams.get('list-type') === '2') return void response.end(listing(url.searchParams));
  const content = objects.get(decodeURIComponent(url.pathname.replace('/lake/', '')));
  if (content === undefined) return void response.writeHead(404).end();
  response.end(content);
}

function listing(query: URLSearchParams): string {
  const keys = [...objects.keys()].filter((key) => key.startsWith(query.get('prefix') ?? '')).sort();
  const from = Number(query.get('continuation-token') ?? 0);
  const page = keys.slice(from, from + 2);
  const more =
    from + 2 < keys.length
      ? `<IsTruncated>true</IsTruncated><NextContinuationToken>${from + 2}</NextContinuationToken>`
      : '<IsTruncated>false</IsTruncated>';
  const contents = page.map((key) => {
    const content = objects.get(key) ?? '';
    return `<Contents><Key>${encodeURIComponent(key)}</Key><Size>${content.length}</Size><ETag>&quot;${etag(content)}&quot;</ETag></Contents>`;
  });
  return `<?xml version="1.0"?><ListBucketResult>${more}${contents.join('')}</ListBucketResult>`;
}

beforeAll(async () => {
  bucket = createServer(answer).listen(0, '127.0.0.1');
  await new Promise((resolve) => bucket.once('listening', resolve));
  world = await openLoadWorld(() => ({
    MILLRACE_INGESTION_S3_ENDPOINT: `http://127.0.0.1:${(bucket.address() as AddressInfo).port}`,
    MILLRACE_INGESTION_S3_REGION: 'eu-north-1',
    MILLRACE_INGESTION_S3_ACCESS_KEY_ID: keyId,
    MILLRACE_INGESTION_S3_SECRET_ACCESS_KEY: 'secret',
  }));
});
afterAll(async () => {
  await world?.close();
  bucket?.closeAllConnections();
  bucket?.close();
});

test('ingestion killed twice in a load of four files: every row once, and the load says so', async () => {
  const folder = join(world.folder, 'many');
  mkdirSync(folder);
  for (let at = 0; at < files; at++) writeFileSync(join(folder, `${at}.csv`), csv(at * rowsPerFile, rowsPerFile));
  const { loadId } = await world.start(folder);
  for (let kill = 0; kill < 2; kill++) {
    const before = Number((await world.get(loadId)).rows);
    await eventually(async () => expect(Number((await world.get(loadId)).rows)).toBeGreaterThan(before + 4_000), {
      timeoutMs: 30_000,
    });
    await world.service.kill9();
    await world.service.restart();
  }
  const done = await world.settled(loadId);
  expect(done).toMatchObject({
    state: SUCCEEDED,
    inputs: BigInt(files),
    inputsDone: BigInt(files),
    inputsSkipped: 0n,
    rejected: 0n,
  });
  // what was published between the last line of the ledger and a kill is found to be there
  expect(Number(done.accepted) + Number(done.duplicates)).toBe(total);
  expect(Number(done.rows)).toBe(total);
  await eventually(async () => expect(await world.inHistory()).toEqual({ rows: total, ids: total }), {
    timeoutMs: 30_000,
  });
  await sleep(300);
  expect(await world.inHistory()).toEqual({ rows: total, ids: total });
});

test('objects of a bucket are listed page by page and read, each request signed', async () => {
  for (let at = 0; at < 5; at++) objects.set(`days/2001/d ${at}+ü.csv`, csv(total + at * 100, 100));
  objects.set('days/2001/_SUCCESS', '');
  objects.set('other/x.csv', csv(0, 1));
  const load = async (location: string) => world.settled((await world.start(location)).loadId);
  expect(await load('s3://lake/days/')).toMatchObject({ state: SUCCEEDED, inputs: 5n, accepted: 500n });
  expect(await load('s3://lake/days/*/d [01]*.csv')).toMatchObject({ state: SUCCEEDED, inputs: 2n, duplicates: 200n });
  expect(await load('s3://lake/nothing/')).toMatchObject({ state: FAILED, reason: 'INPUT_NOT_FOUND' });
  expect(requests.length).toBeGreaterThan(8);
  expect(requests.every(({ headers }) => headers.authorization?.includes(keyId) && headers['x-amz-date'])).toBe(true);
});
