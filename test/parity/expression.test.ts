import { columnReader, compileExpression, type FieldType, type Scalar } from '@millrace/features';
import {
  columnsOf,
  expressionFields,
  type OracleEvent,
  type RandomExpression,
  randomExpression,
  randomOf,
  randomRow,
} from '@millrace/features/testing';
import { createTestMesh, type TestMesh } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';

/** Another run of the fuzzer: MILLRACE_FUZZ_SEED=… vitest run test/parity/expression.test.ts. */
const seed = Number(process.env.MILLRACE_FUZZ_SEED ?? 20_011);
const rowCount = 100;
const expressionCount = 1_020;
const perStatement = 60;
/** A few units of the last place, and what a sum or product makes of them. */
const relative = 1e-12;

const columnTypes = { BOOL: 'Bool', INT64: 'Int64', DOUBLE: 'Float64', STRING: 'String', TIMESTAMP: 'Int64' } as const;

let mesh: TestMesh;
const random = randomOf(seed);
const rows: OracleEvent['fields'][] = Array.from({ length: rowCount }, () => randomRow(random));

beforeAll(async () => {
  mesh = await createTestMesh({ stores: ['clickhouse'] });
  const columns = expressionFields.map(({ name, type, nullable }) =>
    nullable ? `\`${name}\` Nullable(${columnTypes[type]})` : `\`${name}\` ${columnTypes[type]}`,
  );
  await sql(`CREATE TABLE fuzz (id UInt32, ${columns.join(', ')}) ENGINE = MergeTree ORDER BY id`);
  const values = rows.map(
    (row, id) => `(${[id, ...expressionFields.map(({ name }) => literal((row[name] ?? null) as Scalar))].join(', ')})`,
  );
  await sql(`INSERT INTO fuzz VALUES ${values.join(', ')}`);
});

afterAll(() => mesh?.close());

test(`100,000 random (expression, row) cases give the same value in the closure and in SQL (seed ${seed})`, async () => {
  const { columns } = columnsOf(
    expressionFields,
    rows.map((fields, index) => ({ timeUs: 0, seq: 1, index, fields })),
  );
  let compared = 0;
  let values = 0;
  const wrong: string[] = [];
  for (let from = 0; from < expressionCount; from += perStatement) {
    const part = Array.from({ length: Math.min(perStatement, expressionCount - from) }, () => randomExpression(random));
    const compiled = part.map(({ text }) => compileExpression(text, expressionFields));
    const select = compiled.map((expression) => expression.sql((name) => `t.\`${name}\``));
    const answer = await query(`SELECT ${select.join(',\n')} FROM fuzz AS t ORDER BY id`);
    expect(answer.length).toBe(rowCount);
    for (const [at, expression] of compiled.entries()) {
      const evaluate = expression.bind((name) => columnReader(columns.get(name)));
      for (let row = 0; row < rowCount; row++) {
        const closure = evaluate(row);
        const inSql = scalar(answer[row]?.[at], expression.type);
        compared++;
        if (closure !== null) values++;
        if (!same(closure, inSql, (part[at] as RandomExpression).exact))
          wrong.push(`${expression.text}\n  of ${show(rows[row])}\n  closure ${String(closure)}, SQL ${String(inSql)}`);
      }
    }
  }
  expect(wrong.slice(0, 3), `${wrong.length} differ; MILLRACE_FUZZ_SEED=${seed} gives them again`).toEqual([]);
  expect(compared).toBeGreaterThan(100_000);
  // most cases are of values, not of nulls
  expect(values).toBeGreaterThan(compared / 2);
});

function same(closure: Scalar, inSql: Scalar, exact: boolean): boolean {
  if (typeof closure === 'number' && typeof inSql === 'number' && !exact)
    return Math.abs(closure - inSql) <= relative * Math.max(Math.abs(closure), Math.abs(inSql));
  return closure === inSql;
}

function show(row: OracleEvent['fields'] | undefined): string {
  return JSON.stringify(row, (_key, value) => (typeof value === 'bigint' ? `${value}n` : value));
}

async function sql(statement: string): Promise<string> {
  const answer = await fetch(`${mesh.clickhouse.url}/?output_format_json_quote_64bit_integers=1`, {
    method: 'POST',
    body: statement,
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${text.slice(0, 600)}\n${statement.slice(0, 4_000)}`);
  return text;
}

async function query(statement: string): Promise<readonly (readonly unknown[])[]> {
  const text = await sql(`${statement} FORMAT JSONCompactEachRow`);
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as readonly unknown[]);
}

function literal(value: Scalar): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  return typeof value === 'bigint' ? `toInt64('${value}')` : String(value);
}

function scalar(value: unknown, type: FieldType): Scalar {
  if (value === null || value === undefined) return null;
  if (type === 'INT64' || type === 'TIMESTAMP') return BigInt(String(value));
  return type === 'DOUBLE' ? Number(value) : (value as Scalar);
}
