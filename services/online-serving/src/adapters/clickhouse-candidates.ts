import { type History, vectorTable } from '@millrace/history';
import { MeshError } from '@millrace/kernel';
import type { CandidateStore } from '../app/search-features.ts';
import type { Metric } from '../domain/distance.ts';
import type { PlannedView } from '../domain/plan.ts';

const distances: Readonly<Record<Metric, string>> = {
  cosine: 'cosineDistance(_vector, {vector:Array(Float32)})',
  l2: 'L2Distance(_vector, {vector:Array(Float32)})',
  dot: '-dotProduct(_vector, {vector:Array(Float32)})',
};

/** The tables that feature-compute keeps (clickhouse-vectors.ts there). */
export function createCandidateStore(opened: () => Promise<History>): CandidateStore {
  return {
    async count(view, feature, signal) {
      const history = await opened();
      const table = tableOf(view, feature);
      const [row] = await history.query<{ rows: string | null }>(
        'SELECT total_rows AS rows FROM system.tables WHERE database = currentDatabase() AND name = {table: String}',
        { table: table.slice(1, -1) },
        signal,
      );
      if (row) return Number(row.rows ?? 0);
      throw new MeshError(
        'NOT_READY',
        `the vectors of "${feature}" in feature view "${view.name}" are not indexed yet; retry shortly`,
        { featureView: view.name, feature },
        { retryAfterMs: 1_000 },
      );
    },
    async nearest({ view, feature, vector, metric, limit, exact }, signal) {
      const history = await opened();
      const { joinKeys } = view.definition;
      const keys = joinKeys.map(({ name }) => `\`${name}\``);
      const settings = exact ? 'use_skip_indexes = 0' : `hnsw_candidate_list_size_for_search = ${Math.max(256, limit)}`;
      const rows = await history.query<Record<string, unknown>>(
        `SELECT ${keys.join(', ')}, ${distances[metric]} AS _distance FROM ${tableOf(view, feature)}
         ORDER BY _distance LIMIT ${limit} SETTINGS ${settings}`,
        { vector: `[${vector.join(',')}]` },
        signal,
      );
      return rows.map((row) => ({
        keys: joinKeys.map(
          ({ name, type }) => (type === 'INT64' ? exactInteger(String(row[name])) : row[name]) as string,
        ),
        // what has no distance, such as a vector of zeros, comes last
        distance: row._distance === null ? Number.POSITIVE_INFINITY : Number(row._distance),
      }));
    },
  };
}

function tableOf({ name, version }: PlannedView, feature: string): string {
  return vectorTable(name, version, feature);
}

function exactInteger(text: string): number | bigint {
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : BigInt(text);
}
