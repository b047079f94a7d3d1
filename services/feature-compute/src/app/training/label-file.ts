import { definitions } from '@millrace/contracts';
import { type History, insertBlock, RowBinaryWriter } from '@millrace/history';
import { converterOf, type InferredSchema, inferSchema, openRows } from '@millrace/inputs';
import { MeshError } from '@millrace/kernel';
import { sqlName } from '../sql.ts';

const { BOOL, INT64, DOUBLE, STRING, TIMESTAMP } = definitions.FieldType;
const rowsMax = 50_000_000;
const columnsMax = 1_000;
const rowsPerInsert = 100_000;
const badRowsShown = 3;

const sqlTypes: Readonly<Record<number, string>> = {
  [BOOL]: 'Bool',
  [INT64]: 'Int64',
  [DOUBLE]: 'Float64',
  [STRING]: 'String',
  [TIMESTAMP]: "DateTime64(6, 'UTC')",
};

type LabelFile = { readonly name: string; readonly format: string; readonly timeColumn: string };

/** Loads a file into a new table: `millrace_row`, and its columns in the types that every row fits; the time column as `label_time`. */
export async function loadLabels(history: History, path: string, table: string, file: LabelFile): Promise<void> {
  const asked = definitions.RowFormat.fromPartial({ format: file.format });
  const schema = await inferSchema(await openRows(path, asked, file.name), rowsMax);
  checkSchema(schema, file);
  const names = schema.columns.map(({ column }) => sqlName(column === file.timeColumn ? 'label_time' : column));
  const columns = schema.columns.map(({ type }, at) => `${names[at]} Nullable(${sqlTypes[type] ?? 'String'})`);
  await history.command(
    `CREATE TABLE ${sqlName(table)} (millrace_row UInt64, ${columns.join(', ')}) ENGINE = MergeTree ORDER BY millrace_row`,
  );
  const format = definitions.RowFormat.fromPartial({
    format: file.format,
    timeFormat: schema.timeFormat,
    nullValues: [...schema.nullValues],
  });
  const cells = schema.columns.map((column) => cellWriter(column, format));
  const bad: string[] = [];
  let badRows = 0;
  let writer = new RowBinaryWriter();
  let rows = 0;
  const flush = async () => {
    if (rows === 0) return;
    await insertBlock(history, { table: sqlName(table), columns: ['millrace_row', ...names], rows, writer });
    writer = new RowBinaryWriter();
    rows = 0;
  };
  const reader = await openRows(path, format, file.name);
  for await (const chunk of reader.chunks())
    for (const row of chunk.rows) {
      if (row.t === 'bad') {
        if (badRows++ < badRowsShown) bad.push(`row ${row.number}: ${row.message}`);
        continue;
      }
      writer.int64(row.number);
      for (const cell of cells) cell(writer, row.fields);
      if (++rows === rowsPerInsert) await flush();
    }
  if (badRows > 0)
    throw new MeshError(
      'MALFORMED_PAYLOAD',
      `${badRows} rows of "${file.name}" cannot be read, the first: ${bad.join('; ')}; correct them or leave them out`,
      { badRows },
    );
  await flush();
}

function checkSchema(schema: InferredSchema, { name, timeColumn }: LabelFile): void {
  if (!schema.complete || schema.columns.length > columnsMax)
    throw new MeshError(
      'LIMIT_EXCEEDED',
      `"${name}" has more than ${rowsMax} rows or ${columnsMax} columns; load it into a ClickHouse table and name a label query`,
      { rows: rowsMax, columns: columnsMax },
    );
  const time = schema.columns.find(({ column }) => column === timeColumn);
  const times = schema.columns.filter(({ type }) => type === TIMESTAMP).map(({ column }) => column);
  if (time === undefined)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `"${name}" has no column "${timeColumn}" for the time of a label; ${times.length > 0 ? `name one that is a time: ${times.join(', ')}` : `it has ${schema.columns.map(({ column }) => column).join(', ')}, none of them a time`}`,
      { column: timeColumn },
    );
  if (time.type !== TIMESTAMP)
    throw new MeshError(
      'WRONG_TYPE',
      `column "${timeColumn}" of "${name}" is not a time, as ${time.examples.slice(0, 3).join(', ')}; write RFC 3339, as 2001-04-01T08:00:00Z`,
      { column: timeColumn },
    );
}

type Cell = (writer: RowBinaryWriter, fields: Readonly<Record<string, unknown>>) => void;

function cellWriter({ column, type }: InferredSchema['columns'][number], format: definitions.RowFormat): Cell {
  const convert = converterOf(definitions.SourceField.fromPartial({ name: column, type, nullable: true }), format);
  return (writer, fields) => {
    const value = convert(fields[column]);
    writer.uint8(value === null ? 1 : 0);
    if (value === null) return;
    if (type === BOOL) writer.uint8(value === true ? 1 : 0);
    else if (type === INT64 || type === TIMESTAMP) writer.bigint64(BigInt(value as number | string));
    else if (type === DOUBLE) writer.float64(Number(value));
    else writer.string(String(value));
  };
}
