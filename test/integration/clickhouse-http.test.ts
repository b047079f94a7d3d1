import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type ClickHouseClient, ClickHouseError, ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { createTestMesh, eventually, type TestMesh } from '@millrace/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/** `@clickhouse/client`'s everyday calls: they hold on a real server and on chDB behind our HTTP interface. */
let mesh: TestMesh;
let client: ClickHouseClient;

beforeAll(async () => {
  mesh = await createTestMesh({ stores: ['clickhouse'] });
  client = createClient({
    url: mesh.clickhouse.url,
    max_open_connections: 32,
    log: { level: ClickHouseLogLevel.OFF },
    clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
  });
});

afterAll(async () => {
  await client?.close();
  await mesh?.close();
});

let tables = 0;

async function newTable(columns = 'id UInt32, name String, score Float64'): Promise<string> {
  const table = `t${tables++}`;
  await client.command({ query: `CREATE TABLE ${table} (${columns}) ENGINE = MergeTree ORDER BY tuple()` });
  return table;
}

async function count(table: string): Promise<number> {
  const result = await client.query({ query: `SELECT count() AS n FROM ${table}`, format: 'JSONEachRow' });
  const [row] = await result.json<{ n: string }>();
  return Number(row?.n);
}

async function parts(table: string): Promise<number> {
  const query = `SELECT count() AS n FROM system.parts WHERE table = '${table}' AND active`;
  const [row] = await (await client.query({ query, format: 'JSONEachRow' })).json<{ n: string }>();
  return Number(row?.n);
}

async function post(query: string, body: string | ArrayBuffer): Promise<Response> {
  const url = `${mesh.clickhouse.url}/?${new URLSearchParams({ query })}`;
  return await fetch(url, { method: 'POST', body });
}

async function select(query: string, params: Record<string, string> = {}): Promise<Response> {
  return await fetch(`${mesh.clickhouse.url}/?${new URLSearchParams(params)}`, { method: 'POST', body: query });
}

const rowsOf = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => ({ id: from + at, name: `row ${from + at}`, score: (from + at) / 4 }));

describe('calls', () => {
  test('ping answers, also by a query', async () => {
    expect(await client.ping()).toEqual({ success: true });
    expect(await client.ping({ select: true })).toMatchObject({ success: true });
  });

  test('rows go in as an array, as a stream and as an object of CSV lines', async () => {
    const table = await newTable();
    await client.insert({ table, values: rowsOf(0, 3), format: 'JSONEachRow' });
    await client.insert({ table, values: Readable.from(rowsOf(3, 6)), format: 'JSONEachRow' });
    await client.insert({
      table,
      values: Readable.from(['6,"row, 6",1.5\n', '7,"row\n7",1.75\n'], { objectMode: false }),
      format: 'CSV',
    });
    await client.insert({
      table,
      values: [[8, 'row 8', 2]],
      format: 'JSONCompactEachRow',
      columns: ['id', 'name', 'score'],
    });
    const result = await client.query({ query: `SELECT * FROM ${table} ORDER BY id`, format: 'JSONEachRow' });
    const rows = await result.json<{ id: number; name: string }>();
    expect(rows.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(rows.slice(6, 8).map(({ name }) => name)).toEqual(['row, 6', 'row\n7']);
  });

  test('a command with data in its text inserts it', async () => {
    const table = await newTable();
    await client.command({ query: `INSERT INTO ${table} VALUES (1, 'a; FORMAT b', 1), (2, '-- c', 2)` });
    await client.command({ query: `INSERT INTO ${table} (id, name) SELECT number, 'from select' FROM numbers(10)` });
    await select(`INSERT INTO ${table} FORMAT JSONEachRow\n{"id":20,"name":"in the body"}`);
    expect(await count(table)).toBe(13);
  });

  test('every format that the client knows is answered as a whole document', async () => {
    const query = 'SELECT number AS n, toString(number) AS s FROM numbers(150000)';
    const json = await (await client.query({ query, format: 'JSON' })).json<{ n: string }>();
    expect(json.rows).toBe(150_000);
    expect(json.data.at(-1)).toEqual({ n: '149999', s: '149999' });
    const compact = await (await client.query({ query, format: 'JSONCompact' })).json<[string, string]>();
    expect(compact.data.length).toBe(150_000);
    const csv = await (await client.query({ query, format: 'CSVWithNames' })).text();
    expect(csv.split('\n').length).toBe(150_002);
    expect(csv.match(/"n","s"/g)?.length).toBe(1);
  });

  test.each(['RowBinary', 'Parquet', 'Native'])('%s comes out and goes in again, byte for byte', async (format) => {
    const table = await newTable("id UInt32, name Nullable(String), at DateTime64(6, 'UTC')");
    const query = `SELECT toUInt32(number) AS id, if(number % 3 = 0, NULL, 'é' || number) AS name,
      toDateTime64('2026-01-02 03:04:05.678901', 6, 'UTC') AS at FROM numbers(1000) FORMAT ${format}`;
    const bytes = await (await select(query)).arrayBuffer();
    expect((await post(`INSERT INTO ${table} FORMAT ${format}`, bytes)).status).toBe(200);
    const digest = 'SELECT count(), sum(id), countIf(name IS NULL), min(at), max(length(name)) FROM';
    expect(await (await select(`${digest} ${table}`)).text()).toBe(
      '1000\t499500\t334\t2026-01-02 03:04:05.678901\t5\n',
    );
  });

  test('parameters of many types arrive as they were', async () => {
    const at = new Date('2026-03-04T05:06:07.089Z');
    const text = `quote ' double " back \\ tab \t newline \n {brace:String} 'x'`;
    const result = await client.query({
      query: `SELECT {text:String} AS text, {big:UInt64} AS big, {small:Int8} AS small, {share:Float64} AS share,
        {flag:Bool} AS flag, {nothing:Nullable(String)} AS nothing, {names:Array(String)} AS names,
        {ids:Array(UInt32)} AS ids, {at:DateTime64(3, 'UTC')} AS at, {pairs:Map(String, UInt8)} AS pairs,
        {table:Identifier}.dummy AS dummy FROM system.one AS one`,
      query_params: {
        text,
        big: '18446744073709551615',
        small: -7,
        share: 0.1,
        flag: true,
        nothing: null,
        names: ["it's", 'a,b', '', 'tab\t', text],
        ids: [1, 2, 3],
        at,
        pairs: { a: 1 },
        table: 'one',
      },
      format: 'JSONEachRow',
    });
    expect((await result.json())[0]).toEqual({
      text,
      big: '18446744073709551615',
      small: -7,
      share: 0.1,
      flag: true,
      nothing: null,
      names: ["it's", 'a,b', '', 'tab\t', text],
      ids: [1, 2, 3],
      at: '2026-03-04 05:06:07.089',
      pairs: { a: 1 },
      dummy: 0,
    });
  });

  test('a large parameter goes as a form', async () => {
    const ids = Array.from({ length: 20_000 }, (_, at) => `id ${at}`);
    const result = await client.query({
      query: 'SELECT length({ids:Array(String)}) AS n, {ids:Array(String)}[20000] AS last',
      query_params: { ids },
      format: 'JSONEachRow',
      use_multipart_params: true,
    });
    expect(await result.json()).toEqual([{ n: '20000', last: 'id 19999' }]);
  });

  test('a parameter, a setting or a database of one request is unknown to the next', async () => {
    await client.command({ query: 'CREATE DATABASE IF NOT EXISTS other' });
    const ask = async (params: Record<string, string>) =>
      await (await select("SELECT getSetting('max_block_size'), currentDatabase()", params)).text();
    for (let round = 0; round < 3; round++) {
      expect(await ask({ max_block_size: '1234', database: 'other' })).toBe('1234\tother\n');
      expect(await ask({})).toBe('65409\tdefault\n');
      expect(await (await select('SELECT {x:UInt8}', { param_x: '7' })).text()).toBe('7\n');
      expect((await select('SELECT {x:UInt8}')).status).toBe(400);
      await select('SET max_block_size = 77');
      expect(await (await select("SELECT getSetting('max_block_size')", { readonly: '1' })).text()).toBe('65409\n');
    }
  });

  test('the query id, the format and the summary come back in headers', async () => {
    const query_id = randomUUID();
    const table = await newTable();
    const { query_id: seen, summary } = await client.insert({
      table,
      values: rowsOf(0, 10),
      format: 'JSONEachRow',
      query_id,
    });
    expect(seen).toBe(query_id);
    expect(summary?.written_rows).toBe('10');
    const response = await select(`SELECT * FROM ${table} FORMAT CSV`, { query_id });
    expect(response.headers.get('x-clickhouse-query-id')).toBe(query_id);
    expect(response.headers.get('x-clickhouse-format')).toBe('CSV');
    expect(JSON.parse(response.headers.get('x-clickhouse-summary') ?? '')).toMatchObject({ read_rows: '10' });
    const progress = await select('SELECT 1', { send_progress_in_http_headers: '1', wait_end_of_query: '1' });
    expect(progress.headers.get('x-clickhouse-progress')).toContain('read_rows');
    expect(await progress.text()).toBe('1\n');
  });

  test('exec streams what a statement answers, also a SHOW', async () => {
    const { stream } = await client.exec({ query: "SELECT 'exec' FORMAT TabSeparated" });
    expect(await text(stream)).toBe('exec\n');
    const shown = await client.query({ query: 'SHOW DATABASES', format: 'JSONEachRow' });
    expect(await shown.json()).toContainEqual({ name: 'default' });
  });

  test('a result without rows is an empty document', async () => {
    const none = 'SELECT 1 AS a WHERE 0';
    expect(await (await client.query({ query: none, format: 'JSONEachRow' })).json()).toEqual([]);
    expect((await (await client.query({ query: none, format: 'JSON' })).json()).rows).toBe(0);
  });

  test('gzip works in both directions', async () => {
    const packed = createClient({ url: mesh.clickhouse.url, compression: { request: true, response: true } });
    const table = await newTable();
    await packed.insert({ table, values: rowsOf(0, 5_000), format: 'JSONEachRow' });
    const result = await packed.query({ query: `SELECT * FROM ${table} ORDER BY id`, format: 'JSONEachRow' });
    expect(result.response_headers['content-encoding']).toBe('gzip');
    expect(await result.json()).toEqual(rowsOf(0, 5_000));
    await packed.close();
  });
});

describe('errors', () => {
  test.each([
    ['SELECT * FROM nowhere', '60', 'UNKNOWN_TABLE', 404],
    ['SELEC 1', '62', 'SYNTAX_ERROR', 400],
    ['SELECT * FROM nobase.t', '81', 'UNKNOWN_DATABASE', 404],
    ['SELECT nothing', '47', 'UNKNOWN_IDENTIFIER', 404],
    ['SELECT 1; SELECT 2', '62', 'SYNTAX_ERROR', 400],
    ["SELECT throwIf(1, 'boom')", '395', 'FUNCTION_THROW_IF_VALUE_IS_NON_ZERO', 500],
  ])('%s answers %s %s with status %i', async (query, code, type, status) => {
    const failure = await client.command({ query }).catch((cause: unknown) => cause);
    expect(failure).toBeInstanceOf(ClickHouseError);
    expect(failure).toMatchObject({ code, type });
    const response = await select(query);
    expect(response.status).toBe(status);
    expect(response.headers.get('x-clickhouse-exception-code')).toBe(code);
  });

  test('an unknown setting is refused by name', async () => {
    const failure = client.query({
      query: 'SELECT 1',
      clickhouse_settings: { no_such_setting: 1 } as Record<string, number>,
    });
    await expect(failure).rejects.toMatchObject({ code: '115', type: 'UNKNOWN_SETTING' });
  });

  test('an error after a million rows reaches the reader of the stream', async () => {
    const query = 'SELECT throwIf(number = 2000000) AS n FROM numbers(3000000)';
    const result = await client.query({
      query,
      format: 'JSONEachRow',
      clickhouse_settings: { max_threads: 1 },
    });
    const drained = (async () => {
      for await (const _ of result.stream());
    })();
    await expect(drained).rejects.toThrow(/throwIf/);
    await expect(select(query).then((response) => response.text())).rejects.toThrow();
  });

  test('a bad row inserts nothing of its batch', async () => {
    const table = await newTable();
    const lines = [...rowsOf(0, 50_000).map((row) => JSON.stringify(row)), '{"id":"not a number"}'];
    const response = await post(`INSERT INTO ${table} FORMAT JSONEachRow`, lines.join('\n'));
    expect(response.status).toBe(400);
    expect(await response.text()).toMatch(/^Code: 27\. DB::Exception: Cannot parse input(?!.*in file)/s);
    expect(await count(table)).toBe(0);
  });
});

describe('volume', () => {
  test('100,000 rows are one block', async () => {
    const table = await newTable();
    const values = rowsOf(0, 100_000);
    const startedMs = performance.now();
    await client.insert({ table, values, format: 'JSONEachRow' });
    console.log(JSON.stringify({ insert: '100,000 rows JSONEachRow', ms: Math.round(performance.now() - startedMs) }));
    expect(await count(table)).toBe(100_000);
    expect(await parts(table)).toBe(1);
  });

  test('1,000,000 rows stream through in little memory', async () => {
    const query = "SELECT number AS id, repeat('x', 100) AS fill FROM numbers(1000000)";
    const result = await client.query({ query, format: 'JSONEachRow' });
    let rows = 0;
    let peakMb = 0;
    const beforeMb = process.memoryUsage().rss / 1e6;
    for await (const batch of result.stream()) {
      rows += batch.length;
      peakMb = Math.max(peakMb, process.memoryUsage().rss / 1e6 - beforeMb);
    }
    expect(rows).toBe(1_000_000);
    expect(peakMb).toBeLessThan(400);
  });

  test('a reader that pauses holds the server back instead of filling its memory', async () => {
    const query = 'SELECT number, toString(number) FROM numbers(100000000) FORMAT TSV';
    const gone = new AbortController();
    const url = `${mesh.clickhouse.url}/`;
    const response = await fetch(url, { method: 'POST', body: query, signal: gone.signal });
    await response.body?.getReader().read();
    const residentMb = async () => {
      return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${mesh.clickhouse.pid}/status`, 'utf8'))?.[1]) / 1e3;
    };
    const beforeMb = await residentMb();
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect((await residentMb()) - beforeMb).toBeLessThan(200);
    gone.abort();
    await noneRunning('numbers(100000000)');
  });

  test('an aborted query stops running', async () => {
    const gone = new AbortController();
    const query = 'SELECT sum(sipHash64(number)) FROM numbers(5000000000)';
    const asked = client.query({ query, abort_signal: gone.signal });
    setTimeout(() => gone.abort(), 200);
    await expect(asked).rejects.toThrow();
    await noneRunning('numbers(5000000000)');
  });

  test('parallel queries do not wait for each other', async () => {
    const startedMs = performance.now();
    await Promise.all(
      Array.from({ length: 10 }, () => client.query({ query: 'SELECT sleep(0.5)' }).then((r) => r.text())),
    );
    expect(performance.now() - startedMs).toBeLessThan(4_000);
    const table = await newTable();
    await client.insert({ table, values: rowsOf(0, 1_000), format: 'JSONEachRow' });
    const takenMs: number[] = [];
    await Promise.all(
      Array.from({ length: 4 }, async (_, lane) => {
        for (let at = 0; at < 50; at++) {
          const id = lane * 50 + at;
          const askedMs = performance.now();
          const result = await client.query({
            query: `SELECT name FROM ${table} WHERE id = {id:UInt32}`,
            query_params: { id },
            format: 'JSONEachRow',
          });
          expect(await result.json()).toEqual([{ name: `row ${id}` }]);
          takenMs.push(performance.now() - askedMs);
        }
      }),
    );
    takenMs.sort((a, b) => a - b);
    console.log(JSON.stringify({ select: 'by id, 4 in parallel', p50Ms: takenMs[100], p99Ms: takenMs[198] }));
  });
});

describe('crashes', () => {
  test('what was acknowledged survives kill -9, and an insert is whole or absent', async () => {
    const table = await newTable();
    let acknowledged = 0;
    let stopped = false;
    const writer = (async () => {
      for (let batch = 0; !stopped; batch++) {
        const values = rowsOf(batch * 10_000, (batch + 1) * 10_000);
        await client.insert({ table, values, format: 'JSONEachRow' });
        acknowledged++;
      }
    })().catch(() => undefined);
    await eventually(() => acknowledged >= 3);
    await mesh.clickhouse.kill9();
    stopped = true;
    await writer;
    await mesh.clickhouse.restart();
    const rows = await count(table);
    expect(rows % 10_000).toBe(0);
    expect(rows / 10_000).toBeGreaterThanOrEqual(acknowledged);
    expect(rows / 10_000).toBeLessThanOrEqual(acknowledged + 1);
  });

  test('a client that goes away in the middle of its body has inserted nothing', async () => {
    const table = await newTable();
    const gone = new AbortController();
    const values = new ReadableStream({
      async pull(controller) {
        controller.enqueue(new TextEncoder().encode('{"id":1,"name":"half"}\n'.repeat(1_000)));
        await new Promise((resolve) => setTimeout(resolve, 5));
      },
    });
    setTimeout(() => gone.abort(), 100);
    const query = `INSERT INTO ${table} FORMAT JSONEachRow`;
    const init: RequestInit = { method: 'POST', body: values, duplex: 'half', signal: gone.signal };
    await expect(fetch(`${mesh.clickhouse.url}/?${new URLSearchParams({ query })}`, init)).rejects.toThrow();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await count(table)).toBe(0);
  });
});

async function noneRunning(part: string): Promise<void> {
  await eventually(async () => {
    const query = `SELECT query FROM system.processes WHERE position(query, '${part}') > 0 AND query NOT LIKE '%processes%'`;
    expect(await (await select(query)).text()).toBe('');
  });
}
