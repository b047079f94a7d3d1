import { expect, test } from 'vitest';
import { parseStatement, type Statement } from './statement.ts';

function select(sql: string): Extract<Statement, { t: 'select' }> {
  const statement = parseStatement(sql);
  if (statement.t !== 'select') throw new Error(`parsed as ${statement.t}`);
  return statement;
}

function insert(sql: string): Extract<Statement, { t: 'insert' }> {
  const statement = parseStatement(sql);
  if (statement.t !== 'insert') throw new Error(`parsed as ${statement.t}`);
  return statement;
}

test('the result of a select goes before its FORMAT clause', () => {
  expect(select('SELECT 1 FORMAT JSON').into('p', 'TSV')).toBe("SELECT 1  INTO OUTFILE 'p' APPEND FORMAT JSON");
  expect(select('SELECT 1 FORMAT CSV SETTINGS a = 1;').into('p', 'TSV')).toBe(
    "SELECT 1  INTO OUTFILE 'p' APPEND FORMAT CSV SETTINGS a = 1",
  );
  expect(select('SELECT 1 -- end\n;').into('p', 'TSV')).toBe("SELECT 1 INTO OUTFILE 'p' APPEND FORMAT TSV");
});

test.each([
  "SELECT ' FORMAT JSON'",
  'SELECT format FROM t ORDER BY format desc',
  'SELECT a AS format, "FORMAT JSON" FROM t',
  'SELECT * FROM (SELECT 1 FORMAT JSON)',
  'SELECT 1 /* FORMAT JSON */',
  "SELECT 'it''s \\' FORMAT' -- FORMAT JSON",
  "SELECT format('{}', x) FROM t",
  'WITH 1 AS x SELECT x',
  '(SELECT 1) UNION ALL (SELECT 2)',
])('%s has no format of its own', (sql) => {
  expect(select(sql).format).toBeUndefined();
});

test.each([
  ['INSERT INTO t FORMAT JSONEachRow\n{"a":1}', 'JSONEachRow', '{"a":1}'],
  ['insert into d.t (a, b) format CSV 1,2', 'CSV', '1,2'],
  ['INSERT INTO `FORMAT` FORMAT TSV\n\n', 'TSV', '\n'],
  ['INSERT INTO format FORMAT TSV\nx', 'TSV', 'x'],
  ["INSERT INTO t VALUES (1, ' FORMAT CSV')", 'Values', "(1, ' FORMAT CSV')"],
  ["INSERT INTO FUNCTION null('a Int8') VALUES (1)", 'Values', '(1)'],
])('%s has %s data', (sql, format, data) => {
  const statement = insert(sql);
  expect(statement.format).toBe(format);
  expect(sql.slice(statement.dataStart)).toBe(data);
});

test('an insert reads its data from a file, with its settings behind', () => {
  const sql = 'INSERT INTO t (a) SETTINGS x = 1 FORMAT CSV';
  expect(insert(sql).from("/a'b")).toBe(
    "INSERT INTO t (a)  FROM INFILE '/a\\'b' COMPRESSION 'none' SETTINGS x = 1  FORMAT CSV",
  );
});

test.each([
  ['', 'empty'],
  ['-- only a comment', 'empty'],
  [';', 'empty'],
  ['SELECT 1; SELECT 2', 'many'],
  ['INSERT INTO t SELECT * FROM u', 'command'],
  ['CREATE TABLE t (a Int8) ENGINE = Memory', 'command'],
  ['SHOW TABLES', 'show'],
  ['EXPLAIN SELECT 1 FORMAT JSON', 'show'],
])('%s is %s', (sql, kind) => {
  expect(parseStatement(sql).t).toBe(kind);
});

test('statements that change their session say so', () => {
  const changes = (sql: string) => (parseStatement(sql) as { changesSession?: boolean }).changesSession;
  expect(['SET a = 1', 'USE d', 'CREATE TEMPORARY TABLE t (a Int8)'].map(changes)).toEqual([true, true, true]);
  expect(changes('CREATE TABLE t (temporary Int8)')).toBe(false);
});
