import { eventTable, fromVerdictRow, type History, type ResultRow, toVerdictRow } from '@millrace/history';
import { type Check, isCorrectable, type Measured } from '@millrace/sources';
import type { ExpectationResult, ResultBook } from '../app/expectation-judge.ts';

const table = 'expectation_results';
/** Values of an interval that a KS distance is computed of; more are sampled. */
const sampleMax = 10_000;

/** `expectation_results` in ClickHouse, for 30 days. */
export function createResultBook(history: History): ResultBook {
  let made: Promise<void> | undefined;
  const ensured = (): Promise<void> => {
    made ??= history
      .command(
        `CREATE TABLE IF NOT EXISTS ${table} (
          source LowCardinality(String), source_version LowCardinality(String), expectation LowCardinality(String),
          check LowCardinality(String), outcome LowCardinality(String), start_us Int64, end_us Int64, observed Nullable(Float64),
          bound String, rows Int64, message String
        ) ENGINE = MergeTree ORDER BY (source, expectation, end_us) TTL toDateTime(intDiv(end_us, 1000000)) + INTERVAL 30 DAY`,
      )
      .catch((cause) => {
        made = undefined;
        throw cause;
      });
    return made;
  };

  return {
    async add(results) {
      await ensured();
      await history.client.insert({ table, format: 'JSONEachRow', values: results.map(toStored) });
    },
    async list({ source, expectation, afterUs, limit, latest }) {
      await ensured();
      const rows = await history.query<ResultRow>(
        `SELECT * FROM ${table} WHERE source = {source: String} AND ({expectation: String} = '' OR expectation = {expectation: String})
         AND end_us > {after: Int64} ORDER BY end_us DESC, expectation ${latest ? 'LIMIT 1 BY expectation' : ''} LIMIT {limit: UInt32}`,
        { source, expectation, after: afterUs, limit },
      );
      return rows.map(fromStored);
    },
    async judgedUntil(source) {
      await ensured();
      const rows = await history.query<{ expectation: string; until: string }>(
        `SELECT expectation, max(end_us) AS until FROM ${table} WHERE source = {source: String} GROUP BY expectation`,
        { source },
      );
      return new Map(rows.map(({ expectation, until }) => [expectation, Number(until)]));
    },
    async measure({ name, spec }, check, startUs, endUs) {
      // what was accepted in an interval is judged as it was: corrections count, deletions have nothing to look at
      const from = isCorrectable(spec)
        ? `(SELECT * FROM ${eventTable(name)} WHERE _operation != 'delete')`
        : eventTable(name);
      const within =
        '_known_time >= fromUnixTimestamp64Micro({start: Int64}) AND _known_time < fromUnixTimestamp64Micro({end: Int64})';
      const length = endUs - startUs;
      const ask = (columns: string, where = within) =>
        history.query<Record<string, string | number | (string | number)[] | null>>(
          `SELECT ${columns} FROM ${from} WHERE ${where}`,
          {
            start: startUs,
            end: endUs,
            previous: startUs - length,
          },
        );
      const [row = {}] = await ask(`count() AS rows${columnsOf(check)}`);
      const rows = Number(row.rows ?? 0);
      if (check.$case === 'volume') {
        const [before] = await ask(
          'count() AS rows',
          '_known_time >= fromUnixTimestamp64Micro({previous: Int64}) AND _known_time < fromUnixTimestamp64Micro({start: Int64})',
        );
        return { rows, previousRows: Number(before?.rows ?? 0) };
      }
      if (check.$case === 'freshness') {
        const [newest] = await ask(
          'toString(toUnixTimestamp64Micro(max(_event_time))) AS newest, count() AS rows',
          '_known_time < fromUnixTimestamp64Micro({end: Int64})',
        );
        return { rows, newestUs: Number(newest?.rows ?? 0) === 0 ? undefined : Number(newest?.newest) };
      }
      return toMeasured(rows, row);
    },
  };
}

function toMeasured(rows: number, row: Readonly<Record<string, unknown>>): Measured {
  const numbers = (value: unknown) => (Array.isArray(value) ? value.map(Number) : undefined);
  const [bins, sample] = [numbers(row.bins), numbers(row.sample)];
  return {
    rows,
    values: Number(row.values ?? 0),
    distinct: Number(row.distinct ?? 0),
    ...(bins === undefined ? {} : { binCounts: bins }),
    ...(sample === undefined ? {} : { sample }),
    ...(row.quantile === undefined ? {} : { quantile: Number(row.quantile ?? Number.NaN) }),
  };
}

function columnsOf(check: Check): string {
  switch (check.$case) {
    case 'completeness':
    case 'distinctness': {
      const field = `\`${check.value.field}\``;
      return `, count(${field}) AS values, uniqExact(${field}) AS distinct`;
    }
    case 'distribution': {
      const { field: name, edges, categories, values } = check.value;
      const field = `\`${name}\``;
      if (values.length > 0)
        return `, groupArraySampleIf(${sampleMax}, 1)(toFloat64(assumeNotNull(${field})), isNotNull(${field})) AS sample`;
      const conditions = edges.length > 0 ? edgeConditions(field, edges) : categoryConditions(field, categories);
      return `, [${conditions.map((condition) => `countIf(isNotNull(${field}) AND ${condition})`).join(', ')}] AS bins`;
    }
    case 'quantile': {
      const { field, q } = check.value;
      return `, quantileExactInclusiveOrNull(${q})(toFloat64(\`${field}\`)) AS quantile`;
    }
    default:
      return '';
  }
}

/** Bin i holds edge i − 1 ≤ value < edge i. */
function edgeConditions(field: string, edges: readonly number[]): string[] {
  const literal = (edge: number | undefined) => `toFloat64('${edge}')`;
  return Array.from({ length: edges.length + 1 }, (_, bin) => {
    const low = bin === 0 ? '1' : `${field} >= ${literal(edges[bin - 1])}`;
    const high = bin === edges.length ? '1' : `${field} < ${literal(edges[bin])}`;
    return `${low} AND ${high}`;
  });
}

function categoryConditions(field: string, categories: readonly string[]): string[] {
  const literals = categories.map((text) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`);
  const each = literals.map((literal) => `toString(${field}) = ${literal}`);
  return [...each, `toString(${field}) NOT IN (${literals.join(', ')})`];
}

function toStored(result: ExpectationResult): ResultRow {
  return { source: result.source, source_version: result.sourceVersion, ...toVerdictRow(result) };
}

function fromStored(row: ResultRow): ExpectationResult {
  return { source: String(row.source), sourceVersion: String(row.source_version), ...fromVerdictRow(row) };
}
