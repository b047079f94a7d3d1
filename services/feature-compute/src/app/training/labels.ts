import { createHash } from 'node:crypto';
import type { FieldType, JoinKeyDefinition } from '@millrace/features';
import type { History } from '@millrace/history';
import { MeshError } from '@millrace/kernel';
import { sqlName } from '../sql.ts';

/** A column that labels carry, with its ClickHouse type. */
export type LabelColumn = { readonly name: string; readonly type: string };

/** Labels in a table: `sample_id` from 1 in the order of the training set, `label_time`, the join keys in their types, what else they carry. */
export type Labels = {
  readonly table: string;
  /** Without sample_id; `label_time` first. */
  readonly columns: readonly LabelColumn[];
  readonly rows: number;
  /** Labels whose keys and time another one has. */
  readonly duplicates: number;
  readonly digest: string;
};

const keyTypes: Readonly<Record<FieldType, { readonly cast: string; readonly from: RegExp }>> = {
  STRING: { cast: 'String', from: /^(String|FixedString|UUID|Enum|LowCardinality)/ },
  INT64: { cast: 'Int64', from: /^(U?Int(8|16|32|64)$)/ },
  BOOL: { cast: 'Bool', from: /^(Bool|UInt8)$/ },
  DOUBLE: { cast: 'Float64', from: /^(Float|U?Int(8|16|32)$|Decimal)/ },
  TIMESTAMP: { cast: "DateTime64(6, 'UTC')", from: /^Date/ },
};
/** Columns beside the join keys in the tables that features are computed over. */
const reservedKeys: ReadonlySet<string> = new Set(['as_of', 'position', 'known', 'known_by', 'one']);
const reserved = /^(sample_id|split|split_\d+|millrace_.*)$/;

/**
 * Puts labels in a table in the order of (time, columns). INVALID_ARGUMENT and WRONG_TYPE for columns that are missing or not of a type that fits,
 * NULL_JOIN_KEY and NULL_NOT_ALLOWED for nulls, with the number of rows.
 */
export async function prepareLabels(
  history: History,
  { table, query, joinKeys }: { table: string; query: string; joinKeys: readonly JoinKeyDefinition[] },
): Promise<Labels> {
  const described = await history.query<LabelColumn>(`DESCRIBE TABLE (${query})`);
  const types = new Map(described.map(({ name, type }) => [name, type]));
  checkNames(
    described.map(({ name }) => name),
    joinKeys,
  );
  const keys = new Map(joinKeys.map((key) => [key.name, castOf(key, types.get(key.name) ?? '')]));
  checkTime(types.get('label_time') ?? '');
  const carried = described.map(({ name }) => name).filter((name) => name !== 'label_time');
  const selected = carried.map((name) => {
    const cast = keys.get(name);
    const plain = `r.${sqlName(name)}`;
    return `${cast === undefined ? plain : `ifNull(CAST(${plain} AS Nullable(${cast})), defaultValueOfTypeName('${cast.replaceAll("'", "\\'")}'))`} AS ${sqlName(name)}`;
  });
  const order = ['label_time', ...carried.map(sqlName)].join(', ');
  const noKey = [...keys.keys()].map((name) => `isNull(r.${sqlName(name)}) AS ${sqlName(`millrace_no_${name}`)}`);
  await history.command(`CREATE TABLE ${sqlName(table)} ENGINE = MergeTree ORDER BY sample_id AS
    SELECT toUInt64(row_number() OVER (ORDER BY ${order})) AS sample_id, *
    FROM (SELECT ifNull(toDateTime64(r.label_time, 6, 'UTC'), toDateTime64(0, 6, 'UTC')) AS label_time, ${[...selected, 'isNull(r.label_time) AS millrace_no_time', ...noKey].join(', ')}
          FROM (${query}) AS r)`);
  const { rows, duplicates } = await checkRows(history, table, [...keys.keys()]);
  const stored = await history.query<LabelColumn>(`DESCRIBE TABLE ${sqlName(table)}`);
  const columns = stored.filter(({ name }) => name === 'label_time' || carried.includes(name));
  const list = columns.map(({ name }) => sqlName(name)).join(', ');
  const digest = await digestOf(history, `SELECT ${list} FROM ${sqlName(table)} ORDER BY sample_id`);
  return { table, columns, rows, duplicates, digest };
}

function checkNames(names: readonly string[], joinKeys: readonly JoinKeyDefinition[]): void {
  const missing = ['label_time', ...joinKeys.map(({ name }) => name)].filter((name) => !names.includes(name));
  if (missing.length > 0) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `labels have no column ${[...new Set(missing)].map((name) => `"${name}"`).join(', ')}; they must give label_time and every join key; they have ${names.join(', ')}`,
      { missing: [...new Set(missing)].join(',') },
    );
  }
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `labels have two columns "${twice}"; name each column once, with AS or EXCEPT`,
      {
        column: twice,
      },
    );
  const clash = joinKeys.find(({ name }) => reservedKeys.has(name));
  if (clash)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `join key "${clash.name}" has a name that training sets use for themselves (${[...reservedKeys].join(', ')}); give the entity's join key another name`,
      { joinKey: clash.name },
    );
  const taken = names.find((name) => reserved.test(name));
  if (taken !== undefined)
    throw new MeshError('INVALID_ARGUMENT', `labels cannot have a column "${taken}": the set has its own; rename it`, {
      column: taken,
    });
}

/** Without Nullable and LowCardinality around it. */
function bare(type: string): string {
  return type.replace(/^LowCardinality\((.*)\)$/, '$1').replace(/^Nullable\((.*)\)$/, '$1');
}

function castOf(key: JoinKeyDefinition, type: string): string {
  const { cast, from } = keyTypes[key.type];
  if (bare(type) !== 'Nothing' && !from.test(bare(type)))
    throw new MeshError(
      'WRONG_TYPE',
      `join key "${key.name}" is ${key.type} and labels give ${type}; convert it, as CAST(${key.name} AS ${cast})`,
      { column: key.name, type },
    );
  return cast;
}

function checkTime(type: string): void {
  if (bare(type).startsWith('Date')) return;
  const remedy = bare(type).includes('Int')
    ? "fromUnixTimestamp64Micro(toInt64(label_time), 'UTC') for microseconds"
    : "parseDateTime64BestEffort(label_time, 6, 'UTC') for text";
  throw new MeshError('WRONG_TYPE', `label_time is ${type}, not a time; convert it, as ${remedy}`, {
    column: 'label_time',
    type,
  });
}

async function checkRows(history: History, table: string, keys: readonly string[]) {
  const noKey = keys.map((name, at) => `sum(${sqlName(`millrace_no_${name}`)}) AS key${at}`);
  const identity = ['label_time', ...keys.map(sqlName)].join(', ');
  const [row] = await history.query<Record<string, string>>(
    `SELECT count() AS rows, sum(millrace_no_time) AS no_time, count() - uniqExact(${identity}) AS duplicates ${noKey.map((sql) => `, ${sql}`).join('')}
     FROM ${sqlName(table)}`,
  );
  const rows = Number(row?.rows ?? 0);
  if (rows === 0) throw new MeshError('INVALID_ARGUMENT', 'there are no labels; the query or file gave no row', {});
  const noTime = Number(row?.no_time ?? 0);
  if (noTime > 0)
    throw new MeshError(
      'NULL_NOT_ALLOWED',
      `${noTime} of ${rows} labels have no label_time; leave them out, as WHERE label_time IS NOT NULL`,
      { column: 'label_time', nulls: noTime, rows },
    );
  for (const [at, name] of keys.entries()) {
    const nulls = Number(row?.[`key${at}`] ?? 0);
    if (nulls > 0)
      throw new MeshError(
        'NULL_JOIN_KEY',
        `${nulls} of ${rows} labels have no join key "${name}"; leave them out, as WHERE ${name} IS NOT NULL`,
        { column: name, nulls, rows },
      );
  }
  return { rows, duplicates: Number(row?.duplicates ?? 0) };
}

/** Over the rows, not a file: Parquet's bytes may change with the server's version, the values may not. */
export async function digestOf(history: History, sql: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const answer = await history.client.exec({
    query: `${sql} FORMAT RowBinaryWithNamesAndTypes`,
    ...(signal ? { abort_signal: signal } : {}),
  });
  for await (const bytes of answer.stream as AsyncIterable<Buffer>) hash.update(bytes);
  return hash.digest('hex');
}
