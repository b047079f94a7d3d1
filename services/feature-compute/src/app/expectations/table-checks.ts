import { checkableFeatures, type Value, type ViewDefinition } from '@millrace/features';
import type { History } from '@millrace/history';
import { MeshError } from '@millrace/kernel';
import type { FeatureBatch, FeatureOutcome } from '@millrace/sources';
import { columnsOf, toValue } from '../../domain/feature-columns.ts';
import { columnValue, sqlName } from '../sql.ts';
import type { ViewChecksOf } from './view-checks.ts';

export type FailedExpectation = FeatureOutcome & { readonly view: string };

/** What rows of a table do not meet of what is expected of a view's features. */
export type CheckTable = (
  view: ViewDefinition,
  /** SQL after FROM. */
  from: string,
  /** The column of each feature that the table has. */
  columnOf: ReadonlyMap<string, string>,
  /** The columns that say which row it is. */
  keys: readonly string[],
  signal: AbortSignal,
) => Promise<readonly FailedExpectation[]>;

/** Expectations of features that the table does not have, and those of rows as they come, are passed over. The table is read once, in parts. */
export function createCheckTable(deps: { readonly history: History; readonly checksOf: ViewChecksOf }): CheckTable {
  return async (view, from, columnOf, keys, signal) => {
    const checks = deps.checksOf(view);
    const asked = checks?.checks.filter(
      ({ isOfValues, fields }) => isOfValues && fields.every((field) => columnOf.has(field)),
    );
    if (checks === undefined || asked === undefined || asked.length === 0) return [];
    const used = new Set(asked.flatMap(({ fields }) => fields));
    const fields = checkableFeatures(view).filter(({ name }) => used.has(name));
    const toBatch = (rows: readonly (readonly unknown[])[]): FeatureBatch => ({
      count: rows.length,
      columns: columnsOf(
        fields,
        fields.map(({ type }, at) => rows.map((row): Value => toValue(type, columnValue(row[at], type)))),
      ),
      eventTimeUs: new Float64Array(),
      name: (row) => keys.map((key, at) => `${key} ${String(rows[row]?.[fields.length + at])}`).join(', '),
    });
    const columns = fields.map(({ name, type }) => {
      const column = sqlName(columnOf.get(name) ?? name);
      return type === 'TIMESTAMP' ? `toInt64(toUnixTimestamp64Micro(${column}))` : column;
    });
    const names = keys.map((key) => `toString(${sqlName(key)})`);
    const measures = asked.map((check) => check.measure());
    const answer = await deps.history.client.query({
      query: `SELECT ${[...columns, ...names].join(', ')} FROM ${from}`,
      format: 'JSONCompactEachRow',
      abort_signal: signal,
      clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
    });
    for await (const part of answer.stream()) {
      const batch = toBatch(part.map((row) => row.json<unknown[]>()));
      for (const measure of measures) measure.add(batch);
    }
    return measures
      .map((measure) => ({ ...measure.outcome(0), view: view.name }))
      .filter(({ outcome }) => outcome !== 'PASS');
  };
}

/** Throws EXPECTATION_FAILED for those that block. */
export function refuseBlocked(failed: readonly FailedExpectation[], what: string, remedy: string): void {
  const blocking = failed.filter(({ severity }) => severity === 'block');
  if (blocking.length === 0) return;
  const list = blocking.map(
    ({ view, expectation, outcome, message }) =>
      `"${expectation}" of feature view "${view}" ${outcome === 'FAIL' ? 'is not met' : outcome}: ${message}`,
  );
  throw new MeshError(
    'EXPECTATION_FAILED',
    `${what} does not meet what is expected of its features: ${list.join('; ')}. ${remedy}`,
    Object.fromEntries(
      blocking
        .slice(0, 10)
        .map(({ view, expectation, rows }, at) => [`failed_${at}`, `${view}/${expectation}: ${rows} rows`]),
    ),
  );
}
