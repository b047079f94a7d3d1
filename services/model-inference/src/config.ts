import { availableParallelism } from 'node:os';
import { MeshError } from '@millrace/kernel';
import { commonConfig, type Env, ownConfig, parseEnv } from '@millrace/runtime';
import { z } from 'zod';

const positive = (fallback: number) => z.coerce.number().int().positive().default(fallback);

const schema = z.object({
  MILLRACE_MODEL_DIR: z.string().default('models'),
  MILLRACE_MODEL_REPOSITORY: z.string().optional(),
  MILLRACE_MODEL_REPOSITORY_POLL_MS: positive(2_000),
  MILLRACE_ONLINE_SERVING_ADDRESS: z.string().optional(),
  MILLRACE_INFERENCE_THREADS: positive(1),
  MILLRACE_INFERENCE_WORKERS: positive(Math.max(2, availableParallelism())),
  MILLRACE_INFERENCE_BATCH_ROWS_MAX: positive(128),
  MILLRACE_INFERENCE_LONG_RUN_MS: positive(1_000),
  MILLRACE_INFERENCE_RUN_MAX_MS: positive(30_000),
  MILLRACE_INFERENCE_QUEUE_MAX: positive(1_024),
  MILLRACE_INFERENCE_CUSTOM_MEMORY_MIB_MAX: positive(2_048),
  MILLRACE_INFERENCE_MEMORY_BYTES_MAX: z.coerce.number().int().nonnegative().optional(),
  MILLRACE_INFERENCE_CACHE_BYTES_MAX: positive(64 * 2 ** 20),
  MILLRACE_INFERENCE_ROWS_MAX: positive(10_000),
  MILLRACE_INFERENCE_FEATURES_TIMEOUT_MS: positive(10_000),
  MILLRACE_INFERENCE_MESSAGE_BYTES_MAX: positive(64 * 2 ** 20),
  MILLRACE_INFERENCE_EXPLAIN_QUEUE_MAX: positive(32),
  MILLRACE_INFERENCE_EXPLAIN_ROWS_MAX: positive(1_000_000),
  MILLRACE_INFERENCE_EXPLAIN_MAX_MS: positive(30_000),
  MILLRACE_INFERENCE_DRIFT_WINDOW_ROWS: positive(6_000),
  MILLRACE_INFERENCE_DRIFT_WINDOW_MS: positive(3_600_000),
  MILLRACE_INFERENCE_DRIFT_ROWS_MIN: positive(200),
  MILLRACE_INFERENCE_PENDING_OUTCOMES_MAX: positive(1_000_000),
});

export type InferenceConfig = ReturnType<typeof loadConfig>;

/** The environment, parsed once. README.md has the table. */
export function loadConfig(env: Env) {
  const own = parseEnv(schema, env);
  return {
    ...ownConfig(env),
    mesh: meshConfig(env, own),
    modelDir: own.MILLRACE_MODEL_DIR,
    repositoryDir: own.MILLRACE_MODEL_REPOSITORY,
    repositoryPollMs: own.MILLRACE_MODEL_REPOSITORY_POLL_MS,
    threads: own.MILLRACE_INFERENCE_THREADS,
    workers: own.MILLRACE_INFERENCE_WORKERS,
    batchRowsMax: own.MILLRACE_INFERENCE_BATCH_ROWS_MAX,
    longRunMs: own.MILLRACE_INFERENCE_LONG_RUN_MS,
    runMaxMs: own.MILLRACE_INFERENCE_RUN_MAX_MS,
    queueMax: own.MILLRACE_INFERENCE_QUEUE_MAX,
    customMemoryMibMax: own.MILLRACE_INFERENCE_CUSTOM_MEMORY_MIB_MAX,
    memoryBytesMax: own.MILLRACE_INFERENCE_MEMORY_BYTES_MAX,
    cacheBytesMax: own.MILLRACE_INFERENCE_CACHE_BYTES_MAX,
    rowsMax: own.MILLRACE_INFERENCE_ROWS_MAX,
    featuresTimeoutMs: own.MILLRACE_INFERENCE_FEATURES_TIMEOUT_MS,
    messageBytesMax: own.MILLRACE_INFERENCE_MESSAGE_BYTES_MAX,
    explainQueueMax: own.MILLRACE_INFERENCE_EXPLAIN_QUEUE_MAX,
    explainRowsMax: own.MILLRACE_INFERENCE_EXPLAIN_ROWS_MAX,
    explainMaxMs: own.MILLRACE_INFERENCE_EXPLAIN_MAX_MS,
    driftWindowRows: own.MILLRACE_INFERENCE_DRIFT_WINDOW_ROWS,
    driftWindowMs: own.MILLRACE_INFERENCE_DRIFT_WINDOW_MS,
    driftRowsMin: own.MILLRACE_INFERENCE_DRIFT_ROWS_MIN,
    pendingOutcomesMax: own.MILLRACE_INFERENCE_PENDING_OUTCOMES_MAX,
  };
}

/** Undefined: the models of a repository are served by this process alone, without registry, features and history. */
function meshConfig(env: Env, own: z.output<typeof schema>) {
  if (own.MILLRACE_MODEL_REPOSITORY !== undefined && !env.MILLRACE_NATS_URL) return undefined;
  const { natsUrl, clickhouseUrl } = commonConfig(env);
  const { MILLRACE_ONLINE_SERVING_ADDRESS: onlineServingAddress } = own;
  if (onlineServingAddress !== undefined) return { natsUrl, clickhouseUrl, onlineServingAddress };
  throw new MeshError('INVALID_CONFIG', 'environment: MILLRACE_ONLINE_SERVING_ADDRESS: write host:port', {
    problems: 1,
  });
}
