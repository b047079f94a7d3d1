import { type ClickHouseClient, ClickHouseError, createClient } from '@clickhouse/client';
import { MeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';

/** ClickHouse, over HTTP, in one database. */
export interface History {
  readonly client: ClickHouseClient;
  /** Rows as objects; 64-bit integers as strings. */
  query<T>(sql: string, params?: Readonly<Record<string, unknown>>, signal?: AbortSignal): Promise<T[]>;
  command(sql: string): Promise<void>;
  ping(): Promise<boolean>;
  close(): Promise<void>;
}

export interface HistoryOptions {
  readonly url: string;
  /** Default `millrace`; made when it is not there. */
  readonly database?: string;
  readonly telemetry?: Telemetry;
}

const firstAnswerMs = 60_000;

/** STORE_UNAVAILABLE when ClickHouse does not answer within 60 s. */
export async function openHistory({ url, database = 'millrace' }: HistoryOptions): Promise<History> {
  const settings = { date_time_input_format: 'best_effort' } as const;
  const untilMs = Date.now() + firstAnswerMs;
  const first = createClient({ url, request_timeout: 10_000 });
  try {
    for (;;) {
      try {
        await first.command({ query: `CREATE DATABASE IF NOT EXISTS \`${database}\`` });
        break;
      } catch (cause) {
        if (Date.now() > untilMs) throw unavailable(url, cause);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  } finally {
    await first.close();
  }
  const client = createClient({
    url,
    database,
    request_timeout: 300_000,
    max_open_connections: 16,
    clickhouse_settings: settings,
    compression: { request: false, response: false },
  });
  return {
    client,
    async query<T>(sql: string, params: Readonly<Record<string, unknown>> = {}, signal?: AbortSignal) {
      try {
        const result = await client.query({
          query: sql,
          format: 'JSONEachRow',
          query_params: { ...params },
          ...(signal ? { abort_signal: signal } : {}),
        });
        return (await result.json()) as T[];
      } catch (cause) {
        throw historyError(url, cause);
      }
    },
    async command(sql) {
      try {
        await client.command({ query: sql });
      } catch (cause) {
        throw historyError(url, cause);
      }
    },
    ping: async () => (await client.ping()).success,
    close: () => client.close(),
  };
}

/** ClickHouse's own error keeps its text; everything else is a store that cannot be reached. */
export function historyError(url: string, cause: unknown): MeshError {
  if (cause instanceof MeshError) return cause;
  if (cause instanceof ClickHouseError) {
    return new MeshError(
      'INTERNAL',
      `ClickHouse refused a statement: ${cause.message}`,
      { code: cause.code, type: cause.type ?? '' },
      { cause },
    );
  }
  return unavailable(url, cause);
}

function unavailable(url: string, cause: unknown): MeshError {
  return new MeshError(
    'STORE_UNAVAILABLE',
    `ClickHouse at "${url}" does not answer: ${(cause as Error).message}`,
    { url },
    { cause },
  );
}
