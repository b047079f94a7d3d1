import { commonConfig, type Env, parseEnv } from '@millrace/runtime';
import { z } from 'zod';

const positive = (fallback: number) => z.coerce.number().int().positive().default(fallback);

const schema = z.object({
  MILLRACE_INGESTION_BATCHES_IN_FLIGHT_MAX: positive(64),
  MILLRACE_INGESTION_STREAM_IN_FLIGHT_MAX: positive(16),
  MILLRACE_INGESTION_BATCHES_WAITING_MAX: positive(1_024),
  MILLRACE_INGESTION_NATS_ACK_PENDING_MAX: positive(4_096),
  MILLRACE_INGESTION_IDS_PER_GENERATION: positive(50_000_000),
  MILLRACE_INGESTION_INDEX_BYTES_MAX: positive(64 * 2 ** 30),
  MILLRACE_INGESTION_HISTORY_FLUSH_INTERVAL_MS: positive(500),
  MILLRACE_INGESTION_HISTORY_FLUSH_ROWS_MAX: positive(50_000),
  MILLRACE_INGESTION_REMEMBERED_KEYS_MAX: positive(500_000),
  MILLRACE_INGESTION_REFIT_INTERVAL_MS: positive(3_600_000),
  MILLRACE_INGESTION_LOAD_FOLDERS: z.string().default(''),
  MILLRACE_INGESTION_LOADS_RUNNING_MAX: positive(2),
  MILLRACE_INGESTION_LOADS_WAITING_MAX: positive(100),
  MILLRACE_INGESTION_LOAD_BYTES_MAX: positive(64 * 2 ** 30),
  MILLRACE_INGESTION_S3_ENDPOINT: z.string().default(''),
  MILLRACE_INGESTION_S3_REGION: z.string().default('us-east-1'),
  MILLRACE_INGESTION_S3_ACCESS_KEY_ID: z.string().default(''),
  MILLRACE_INGESTION_S3_SECRET_ACCESS_KEY: z.string().default(''),
  MILLRACE_INGESTION_S3_SESSION_TOKEN: z.string().default(''),
});

export type IngestionConfig = ReturnType<typeof loadConfig>;

/** The environment, parsed once. README.md has the table. */
export function loadConfig(env: Env) {
  const own = parseEnv(schema, env);
  return {
    ...commonConfig(env),
    batchesInFlightMax: own.MILLRACE_INGESTION_BATCHES_IN_FLIGHT_MAX,
    streamInFlightMax: own.MILLRACE_INGESTION_STREAM_IN_FLIGHT_MAX,
    batchesWaitingMax: own.MILLRACE_INGESTION_BATCHES_WAITING_MAX,
    natsAckPendingMax: own.MILLRACE_INGESTION_NATS_ACK_PENDING_MAX,
    idsPerGeneration: own.MILLRACE_INGESTION_IDS_PER_GENERATION,
    indexBytesMax: own.MILLRACE_INGESTION_INDEX_BYTES_MAX,
    historyFlushIntervalMs: own.MILLRACE_INGESTION_HISTORY_FLUSH_INTERVAL_MS,
    historyFlushRowsMax: own.MILLRACE_INGESTION_HISTORY_FLUSH_ROWS_MAX,
    rememberedKeysMax: own.MILLRACE_INGESTION_REMEMBERED_KEYS_MAX,
    refitIntervalMs: own.MILLRACE_INGESTION_REFIT_INTERVAL_MS,
    loadFolders: own.MILLRACE_INGESTION_LOAD_FOLDERS.split(',').filter((folder) => folder !== ''),
    loadsRunningMax: own.MILLRACE_INGESTION_LOADS_RUNNING_MAX,
    loadsWaitingMax: own.MILLRACE_INGESTION_LOADS_WAITING_MAX,
    loadBytesMax: own.MILLRACE_INGESTION_LOAD_BYTES_MAX,
    s3: {
      endpoint: own.MILLRACE_INGESTION_S3_ENDPOINT,
      region: own.MILLRACE_INGESTION_S3_REGION,
      accessKeyId: own.MILLRACE_INGESTION_S3_ACCESS_KEY_ID,
      secretAccessKey: own.MILLRACE_INGESTION_S3_SECRET_ACCESS_KEY,
      sessionToken: own.MILLRACE_INGESTION_S3_SESSION_TOKEN,
    },
  };
}
