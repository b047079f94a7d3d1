import type { SourceField } from '@millrace/features';
import { ensureEventTable, eventTable, type History, insertBatches } from '@millrace/history';
import { sourceFieldsOf } from '@millrace/registry';
import { isCorrectable } from '@millrace/sources';
import type { HistoryStore } from '../app/history-writer.ts';
import type { SourceDefinition } from '../domain/source-validator.ts';

/** One table a source: `events_<source>`. */
export function createClickHouseHistory(history: History): HistoryStore {
  const tableOf = ({ name, spec }: SourceDefinition) => ({
    name,
    fields: sourceFieldsOf(spec),
    isCorrectable: isCorrectable(spec),
  });
  const tables = new Map<string, { readonly version: string; readonly fields: readonly SourceField[] }>();
  return {
    async open(source) {
      tables.set(source.name, {
        version: source.version,
        fields: await ensureEventTable(history, tableOf(source)),
      });
      const [row] = await history.query<{ position: string; rows: string }>(
        `SELECT toString(max(_seq)) AS position, toString(count()) AS rows FROM ${eventTable(source.name)}`,
      );
      return { position: Number(row?.position ?? 0), rows: Number(row?.rows ?? 0) };
    },
    insert(source, batches) {
      const table = tables.get(source.name);
      if (table?.version !== source.version)
        throw new Error(`the table of ${source.name}@${source.version} is not open`);
      return insertBatches(history, { ...tableOf(source), fields: table.fields }, [...batches]);
    },
  };
}
