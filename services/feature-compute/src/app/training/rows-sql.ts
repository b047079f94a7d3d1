import { type History, insertBlock, RowBinaryWriter } from '@millrace/history';
import { MeshError } from '@millrace/kernel';
import type { Label } from '@millrace/stats';
import { sqlName } from '../sql.ts';
import type { Labels } from './labels.ts';
import { type SplitColumns, sideNames } from './splitting.ts';

/** Sampling and splits hold a column of labels in memory. */
const rowsMax = 5_000_000;
const rowsPerInsert = 500_000;

/** A column of labels in their order. INVALID_ARGUMENT for one that is not there, NULL_NOT_ALLOWED for nulls. */
export async function columnOf(history: History, labels: Labels, name: string): Promise<Label[]> {
  const type = labels.columns.find((column) => column.name === name)?.type;
  if (type === undefined)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `labels have no column "${name}"; they have ${labels.columns.map((column) => column.name).join(', ')}`,
      { column: name },
    );
  checkRowCount(labels.rows);
  const answer = await history.client.query({
    query: `SELECT ${sqlName(name)} AS value FROM ${sqlName(labels.table)} ORDER BY sample_id`,
    format: 'JSONCompactEachRow',
  });
  const read = reader(type);
  const values: Label[] = [];
  let nulls = 0;
  for await (const chunk of answer.stream<readonly unknown[]>()) {
    for (const row of chunk) {
      const [value] = row.json() as readonly unknown[];
      if (value === null) nulls++;
      else values.push(read(value));
    }
  }
  if (nulls > 0)
    throw new MeshError(
      'NULL_NOT_ALLOWED',
      `${nulls} of ${labels.rows} labels have no "${name}", by which rows are sampled or split; fill it or leave them out`,
      { column: name, nulls, rows: labels.rows },
    );
  return values;
}

/** 64-bit integers come as texts and sort as numbers. */
function reader(type: string): (value: unknown) => Label {
  if (/^(Nullable\(|LowCardinality\()*U?Int(64|128|256)/.test(type)) return (value) => BigInt(value as string);
  if (/^(Nullable\(|LowCardinality\()*(U?Int|Float)/.test(type)) return Number;
  if (/^(Nullable\()*Bool/.test(type)) return Boolean;
  return String;
}

export function checkRowCount(rows: number): void {
  if (rows > rowsMax)
    throw new MeshError(
      'LIMIT_EXCEEDED',
      `${rows} labels are over the limit of ${rowsMax} for sampling and splits; take fewer in the label query`,
      { rows, limit: rowsMax },
    );
}

/** A table of the sample ids of these rows. */
export async function insertTaken(history: History, table: string, taken: Int32Array): Promise<void> {
  await history.command(`CREATE TABLE ${sqlName(table)} (sample_id UInt64) ENGINE = MergeTree ORDER BY sample_id`);
  for (let from = 0; from < taken.length; from += rowsPerInsert) {
    const part = taken.subarray(from, from + rowsPerInsert);
    const writer = new RowBinaryWriter();
    for (const row of part) writer.int64(row + 1);
    await insertBlock(history, { table: sqlName(table), columns: ['sample_id'], rows: part.length, writer });
  }
}

/** A table of each row's side of each split; returns the names of its columns. */
export async function insertSplit(
  history: History,
  table: string,
  split: SplitColumns,
  rows: number,
): Promise<readonly string[]> {
  const names = split.t === 'folds' ? ['split'] : split.names;
  const type = split.t === 'folds' ? 'UInt32' : 'String';
  await history.command(
    `CREATE TABLE ${sqlName(table)} (sample_id UInt64, ${names.map((name) => `${name} ${type}`).join(', ')}) ENGINE = MergeTree ORDER BY sample_id`,
  );
  for (let from = 0; from < rows; from += rowsPerInsert) {
    const until = Math.min(rows, from + rowsPerInsert);
    const writer = new RowBinaryWriter();
    for (let row = from; row < until; row++) {
      writer.int64(row + 1);
      if (split.t === 'folds') writer.uint32(split.fold[row] ?? 0);
      else for (const side of split.sides) writer.string(sideNames[side[row] ?? 0] ?? '');
    }
    await insertBlock(history, {
      table: sqlName(table),
      columns: ['sample_id', ...names],
      rows: until - from,
      writer,
    });
  }
  return names;
}

/** The labels that are taken, numbered anew. */
export function takenSql(table: string, labels: Labels, where: string): string {
  const columns = labels.columns.map(({ name }) => sqlName(name)).join(', ');
  return `CREATE TABLE ${sqlName(table)} ENGINE = MergeTree ORDER BY sample_id AS
    SELECT toUInt64(row_number() OVER (ORDER BY l.sample_id)) AS sample_id, ${columns} FROM ${sqlName(labels.table)} AS l WHERE ${where}`;
}
