import { createHash, type Hash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { trainingSets } from '@millrace/contracts';
import type { History } from '@millrace/history';
import { MeshError } from '@millrace/kernel';
import { sqlName } from '../sql.ts';
import { loadLabels } from './label-file.ts';

export type UploadLabels = (
  messages: AsyncIterable<trainingSets.UploadLabelsRequest>,
) => Promise<trainingSets.UploadLabelsResponse>;

const fileBytesMax = 2 ** 30;

/** The table of uploaded labels. INVALID_ARGUMENT when there are none of that id. */
export async function labelTable(history: History, id: string): Promise<string> {
  const table = `labels_${id}`;
  if (/^[0-9a-f]{16}$/.test(id) && (await exists(history, table))) return table;
  throw new MeshError('INVALID_ARGUMENT', `there are no uploaded labels "${id}"; upload the file first`, { id });
}

async function exists(history: History, table: string): Promise<boolean> {
  const [row] = await history.query<{ result: number | string }>(`EXISTS TABLE ${sqlName(table)}`);
  return Number(row?.result ?? 0) === 1;
}

/**
 * Takes a file of labels into a table that stays and is named by the content, so that a training set of it can be built again. MALFORMED_PAYLOAD when rows
 * cannot be read, LIMIT_EXCEEDED beyond 1 GiB.
 */
export function createUploadLabels(deps: { readonly history: History; readonly dir: string }): UploadLabels {
  const { history, dir } = deps;

  return async (messages) => {
    await mkdir(dir, { recursive: true });
    const path = join(dir, `labels-${randomUUID()}`);
    try {
      const { name, format, timeColumn, hash } = await received(messages, path);
      const id = hash.update(`\n${format}\n${timeColumn}`).digest('hex').slice(0, 16);
      const table = `labels_${id}`;
      if (!(await exists(history, table))) await fill(path, table, { name, format, timeColumn });
      return await describe(id, table);
    } finally {
      await rm(path, { force: true });
    }
  };

  /** Whole or not at all. */
  async function fill(path: string, table: string, file: { name: string; format: string; timeColumn: string }) {
    const filling = `${table}_${randomUUID().replaceAll('-', '')}`;
    try {
      await loadLabels(history, path, filling, file);
      await history.command(`RENAME TABLE ${sqlName(filling)} TO ${sqlName(table)}`).catch(async (cause) => {
        // the same file, uploaded twice at once
        if (!(await exists(history, table))) throw cause;
      });
    } finally {
      await history.command(`DROP TABLE IF EXISTS ${sqlName(filling)}`).catch(() => undefined);
    }
  }

  async function describe(id: string, table: string): Promise<trainingSets.UploadLabelsResponse> {
    const described = await history.query<{ name: string; type: string }>(`DESCRIBE TABLE ${sqlName(table)}`);
    const columns = described.filter(({ name }) => name !== 'millrace_row');
    const nulls = columns.map(({ name }, at) => `countIf(isNull(${sqlName(name)})) AS n${at}`);
    const [row] = await history.query<Record<string, string>>(
      `SELECT count() AS rows, ${nulls.join(', ')} FROM ${sqlName(table)}`,
    );
    return {
      labelsId: id,
      rows: BigInt(row?.rows ?? 0),
      columns: columns.map(({ name, type }, at) => ({
        name,
        type: fieldTypes[type] ?? type,
        nullRows: BigInt(row?.[`n${at}`] ?? 0),
      })),
    };
  }
}

const fieldTypes: Readonly<Record<string, string>> = {
  'Nullable(Bool)': 'BOOL',
  'Nullable(Int64)': 'INT64',
  'Nullable(Float64)': 'DOUBLE',
  'Nullable(String)': 'STRING',
  "Nullable(DateTime64(6, 'UTC'))": 'TIMESTAMP',
};

async function received(
  messages: AsyncIterable<trainingSets.UploadLabelsRequest>,
  path: string,
): Promise<{ name: string; format: string; timeColumn: string; hash: Hash }> {
  const file = createWriteStream(path);
  const hash = createHash('sha256');
  let first: trainingSets.UploadLabelsRequest | undefined;
  let bytes = 0;
  try {
    for await (const message of messages) {
      first ??= message;
      bytes += message.data.length;
      if (bytes > fileBytesMax)
        throw new MeshError(
          'LIMIT_EXCEEDED',
          `the file of labels is over the limit of ${fileBytesMax} bytes; load it into a ClickHouse table and name a label query`,
          { limit: fileBytesMax },
        );
      hash.update(message.data);
      if (!file.write(message.data)) await once(file, 'drain');
    }
  } finally {
    file.end();
    await once(file, 'close');
  }
  if (first === undefined || bytes === 0)
    throw new MeshError('MALFORMED_PAYLOAD', 'the file of labels is empty', { name: first?.name ?? '' });
  return { name: first.name, format: first.format, timeColumn: first.timeColumn || 'label_time', hash };
}
