import { commonConfig, type Env, parseEnv } from '@millrace/runtime';
import { z } from 'zod';

const positive = (fallback: number) => z.coerce.number().int().positive().default(fallback);

const schema = z.object({
  MILLRACE_COMPUTE_SHARDS: positive(8),
  MILLRACE_COMPUTE_FLUSH_INTERVAL_MS: positive(10),
  MILLRACE_COMPUTE_FLUSH_ROWS_MAX: positive(4_000),
  MILLRACE_COMPUTE_ROWS_BEHIND_MAX: positive(50_000),
  MILLRACE_COMPUTE_CHECKPOINT_INTERVAL_MS: positive(5_000),
  MILLRACE_COMPUTE_CHECKPOINT_ENTITIES_MAX: positive(50_000),
  MILLRACE_COMPUTE_MEMORY_ENTITIES_MAX: positive(200_000),
  MILLRACE_COMPUTE_STATE_BYTES_MAX: positive(64 * 2 ** 30),
  MILLRACE_COMPUTE_HEAL_INTERVAL_MS: positive(1_000),
  MILLRACE_COMPUTE_RETRACTIONS_PENDING_MAX: positive(20_000),
  MILLRACE_COMPUTE_VECTOR_INTERVAL_MS: positive(500),
  MILLRACE_COMPUTE_TELL_CHANGES: z.stringbool().default(false),
  MILLRACE_COMPUTE_VERIFY_WAIT_MS: positive(10_000),
  MILLRACE_COMPUTE_VERIFY_SAMPLES_MAX: positive(2_000),
});

export type ComputeConfig = ReturnType<typeof loadConfig>;

/** The environment, parsed once. README.md has the table. */
export function loadConfig(env: Env) {
  const own = parseEnv(schema, env);
  return {
    ...commonConfig(env),
    shards: own.MILLRACE_COMPUTE_SHARDS,
    flushIntervalMs: own.MILLRACE_COMPUTE_FLUSH_INTERVAL_MS,
    rowsPerFlushMax: own.MILLRACE_COMPUTE_FLUSH_ROWS_MAX,
    rowsBehindMax: own.MILLRACE_COMPUTE_ROWS_BEHIND_MAX,
    checkpointIntervalMs: own.MILLRACE_COMPUTE_CHECKPOINT_INTERVAL_MS,
    checkpointEntitiesMax: own.MILLRACE_COMPUTE_CHECKPOINT_ENTITIES_MAX,
    entitiesInMemoryMax: own.MILLRACE_COMPUTE_MEMORY_ENTITIES_MAX,
    stateBytesMax: own.MILLRACE_COMPUTE_STATE_BYTES_MAX,
    healIntervalMs: own.MILLRACE_COMPUTE_HEAL_INTERVAL_MS,
    retractionsPendingMax: own.MILLRACE_COMPUTE_RETRACTIONS_PENDING_MAX,
    samplesWaitingMax: own.MILLRACE_COMPUTE_VERIFY_SAMPLES_MAX,
    vectorIntervalMs: own.MILLRACE_COMPUTE_VECTOR_INTERVAL_MS,
    tellChanges: own.MILLRACE_COMPUTE_TELL_CHANGES,
    verifyWaitMs: own.MILLRACE_COMPUTE_VERIFY_WAIT_MS,
  };
}
