import { type ClickHouseClient, ClickHouseError, ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { MeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';

/** ClickHouse, over HTTP, in one database. */
export interface History {
  readonly url: string;
  readonly database: string;
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
  /** How long to wait for the first answer; default 60 s. */
  readonly patienceMs?: number;
}

/** Failures are thrown, with the words of ClickHouse: its client need not print them too. */
const quiet = { level: ClickHouseLogLevel.OFF } as const;

/** STORE_UNAVAILABLE when ClickHouse does not answer within the patience. */
export async function openHistory({
  url,
  database = 'millrace',
  telemetry,
  patienceMs = 60_000,
}: HistoryOptions): Promise<History> {
  const settings = {
    date_time_input_format: 'best_effort',
    output_format_json_quote_64bit_integers: 1,
    // a view of a thousand features is a long statement
    max_query_size: '16777216',
    max_ast_elements: '1000000',
    max_expanded_ast_elements: '2000000',
  } as const;
  const untilMs = Date.now() + patienceMs;
  const first = createClient({ url, request_timeout: 10_000, log: quiet });
  let told = false;
  try {
    for (;;) {
      try {
        await first.command({ query: `CREATE DATABASE IF NOT EXISTS \`${database}\`` });
        break;
      } catch (cause) {
        if (Date.now() > untilMs) throw unavailable(url, cause);
        if (!told) telemetry?.log.warn({ event: 'clickhouse_awaited', url, error: String(cause) });
        told = true;
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
    log: quiet,
    clickhouse_settings: settings,
    compression: { request: false, response: false },
  });
  return {
    url,
    database,
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
