import { createRowReader, createRowWriter, type Hot, openRedis, rowField } from '@millrace/hot';
import { createTestMesh, eventually, type TestMesh } from '@millrace/testkit';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

let mesh: TestMesh;
let hot: Hot;

beforeAll(async () => {
  mesh = await createTestMesh({ stores: ['redis'] });
  hot = await openRedis(mesh.redis.url);
});

beforeEach(async () => {
  await hot.redis.flushall();
});

afterAll(async () => {
  await hot?.close();
  await mesh?.close();
});

function row(position: number, text: string, format = 3): Buffer {
  const head = Buffer.alloc(8);
  head[0] = format;
  head.writeUIntBE(position, 1, 6);
  return Buffer.concat([head, Buffer.from(text)]);
}

const textOf = (bytes: Buffer | null | undefined) => bytes?.subarray(8).toString();

test('the newest position wins, whatever the order of the writes; the same position may be written again', async () => {
  const writer = createRowWriter(hot);
  const reader = createRowReader(hot);
  const write = (position: number, text: string) =>
    writer.write([{ key: '{e:1}', field: 'v@1', row: row(position, text) }]);
  expect(await write(5, 'five')).toEqual({ written: 1, stale: 0 });
  expect(await write(4, 'four')).toEqual({ written: 0, stale: 1 });
  expect(await write(5, 'five again')).toEqual({ written: 1, stale: 0 });
  // the second byte from the right overflows: big-endian, not text order
  expect(await write(256, 'later')).toEqual({ written: 1, stale: 0 });
  expect(await write(255, 'earlier')).toEqual({ written: 0, stale: 1 });
  const [[found] = []] = await reader.read(['{e:1}'], [['v@1']]);
  expect(textOf(found)).toBe('later');
});

test('a row of a newer format is newer, whatever the positions', async () => {
  const writer = createRowWriter(hot);
  const write = (bytes: Buffer) => writer.write([{ key: '{e:1}', field: 'v@1', row: bytes }]);
  expect(await write(row(2 ** 47, 'old', 2))).toEqual({ written: 1, stale: 0 });
  expect(await write(row(1, 'new'))).toEqual({ written: 1, stale: 0 });
  expect(await write(row(2 ** 47, 'old', 2))).toEqual({ written: 0, stale: 1 });
});

test('rows of ten small integers for 25 views of an entity are one block in Redis, of less than 2 KB', async () => {
  const rows = Array.from({ length: 25 }, (_, v) => ({
    key: '{e:1}',
    field: rowField('view', String(v)),
    row: row(1, 'x'.repeat(35)),
  }));
  await createRowWriter(hot).write(rows);
  expect(await hot.redis.object('ENCODING', '{e:1}')).toBe('listpack');
  expect(await hot.redis.memory('USAGE', '{e:1}')).toBeLessThan(1_700);
});

test('bytes too short to be a row are overwritten', async () => {
  await hot.redis.hset('{e:1}', 'v@1', 'x');
  const written = await createRowWriter(hot).write([{ key: '{e:1}', field: 'v@1', row: row(1, 'one') }]);
  expect(written).toEqual({ written: 1, stale: 0 });
});

test('rows of many keys are written and read in order, null where there is none', async () => {
  const keys = Array.from({ length: 1_234 }, (_, i) => `{e:${i}}`);
  const rows = keys.flatMap((key, i) => [
    { key, field: 'a@1', row: row(i, `a${i}`) },
    { key, field: 'b@1', row: row(i, `b${i}`) },
  ]);
  expect(await createRowWriter(hot).write(rows)).toEqual({ written: 2_468, stale: 0 });
  const found = await createRowReader(hot).read(
    [...keys, '{e:none}'],
    [...keys, ''].map(() => ['b@1', 'c@1', 'a@1']),
  );
  expect(found.map((fields) => fields.map(textOf))).toEqual([
    ...keys.map((_, i) => [`b${i}`, undefined, `a${i}`]),
    [undefined, undefined, undefined],
  ]);
});

test('the memory of rows may be used again as soon as they are given, and that of commands once they are answered', async () => {
  const writer = createRowWriter(hot);
  const rounds = [3, 120, 1, 51, 400];
  const writes = rounds.map((count, round) => {
    const rows = Array.from({ length: count }, (_, i) => ({
      key: `{é:${round}:${i}}`,
      field: 'v@1',
      row: i === 2 ? Buffer.alloc(0) : row(round, `${round} ${i} ${'ü'.repeat(i)}`),
    }));
    const done = writer.write(rows);
    for (const each of rows) each.row.fill(0xff);
    return done;
  });
  expect(await Promise.all(writes)).toEqual(rounds.map((written) => ({ written, stale: 0 })));
  // of a buffer that the first ones left
  expect(await writer.write([{ key: '{é:9:0}', field: 'v@1', row: row(9, 'last') }])).toEqual({ written: 1, stale: 0 });
  const keys = rounds.flatMap((count, round) => Array.from({ length: count }, (_, i) => ({ round, i })));
  const found = await createRowReader(hot).read(
    keys.map(({ round, i }) => `{é:${round}:${i}}`),
    keys.map(() => ['v@1']),
  );
  expect(found.map(([bytes]) => textOf(bytes))).toEqual(
    keys.map(({ round, i }) => (i === 2 ? undefined : `${round} ${i} ${'ü'.repeat(i)}`)),
  );
});

test('a connection survives a forgotten script and an error that a command answers', async () => {
  const writer = createRowWriter(hot);
  const one = { key: '{e:1}', field: 'v@1', row: row(1, 'one') };
  await writer.write([one]);
  const clientId = await hot.redis.client('ID');
  await hot.redis.script('FLUSH');
  expect(await writer.write([one])).toEqual({ written: 1, stale: 0 });
  await hot.redis.set('text', 'x');
  await expect(hot.redis.hget('text', 'field')).rejects.toThrow(/WRONGTYPE/);
  expect(await hot.redis.client('ID')).toBe(clientId);
});

test('without Redis a write fails as STORE_UNAVAILABLE in time; after its restart the same writer goes on', async () => {
  const writer = createRowWriter(hot);
  const one = { key: '{e:1}', field: 'v@1', row: row(1, 'one') };
  await writer.setEpoch('first');
  expect(await writer.epochPresent()).toBe(true);
  await mesh.redis.kill9();
  const sinceMs = performance.now();
  await expect(writer.write([one])).rejects.toMatchObject({ reason: 'STORE_UNAVAILABLE' });
  await expect(writer.epochPresent()).rejects.toMatchObject({ reason: 'STORE_UNAVAILABLE' });
  expect(performance.now() - sinceMs).toBeLessThan(12_000);
  await mesh.redis.restart();
  await eventually(async () => expect(await writer.epochPresent()).toBe(false), { timeoutMs: 10_000 });
  expect(await writer.write([one])).toEqual({ written: 1, stale: 0 });
});

test('an address where nothing listens is refused only after patience, and names the address', async () => {
  const opening = openRedis('redis://127.0.0.1:1', { patienceMs: 500 });
  await expect(opening).rejects.toMatchObject({
    reason: 'STORE_UNAVAILABLE',
    metadata: { url: 'redis://127.0.0.1:1' },
  });
});
