import { commonConfig, type Env, parseEnv } from '@millrace/runtime';
import { z } from 'zod';
import type { AdmissionLimits } from './app/admission.ts';
import type { ReadLimits } from './app/read-features.ts';

const paritySchema = z.object({
  MILLRACE_SERVING_PARITY_ROWS_PER_S: z.coerce.number().min(0).max(10_000).default(20),
});

const peersSchema = z.object({
  MILLRACE_INGESTION_ADDRESS: z.string().default(''),
});

const limitsSchema = z.object({
  MILLRACE_SERVING_ROWS_MAX: z.coerce.number().int().min(1).max(10_000).default(10_000),
  MILLRACE_SERVING_READ_TIMEOUT_MS: z.coerce.number().int().min(1).max(60_000).default(1_000),
  MILLRACE_SERVING_PARTIAL_RESERVE_MS: z.coerce.number().int().min(0).max(1_000).default(5),
  MILLRACE_SERVING_HISTORY_TIMEOUT_MS: z.coerce.number().int().min(1).max(120_000).default(10_000),
  MILLRACE_SERVING_IN_FLIGHT_ROWS_MAX: z.coerce.number().int().min(1).max(1_000_000).default(50_000),
  MILLRACE_SERVING_CALLER_IN_FLIGHT_ROWS_MAX: z.coerce.number().int().min(1).max(1_000_000).default(25_000),
  MILLRACE_SERVING_CALLER_ROWS_PER_S_MAX: z.coerce.number().int().min(0).max(1_000_000_000).default(0),
  MILLRACE_SERVING_QUEUE_TARGET_MS: z.coerce.number().min(1).max(10_000).default(25),
  MILLRACE_SERVING_COALESCE: z.stringbool().default(false),
  MILLRACE_SERVING_NEAR_TTL_MS: z.coerce.number().int().min(0).max(60_000).default(0),
  MILLRACE_SERVING_NEAR_ENTRIES_MAX: z.coerce.number().int().min(1).max(10_000_000).default(100_000),
  MILLRACE_SERVING_NEAR_BYTES_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(16 * 2 ** 30)
    .default(256 * 2 ** 20),
  MILLRACE_SERVING_USAGE_INTERVAL_MS: z.coerce.number().int().min(100).max(3_600_000).default(10_000),
  MILLRACE_SERVING_PROCESSES: z.coerce.number().int().min(1).max(256).default(1),
  MILLRACE_SERVING_SEARCH_CANDIDATES_MAX: z.coerce.number().int().min(1_000).max(10_000_000).default(100_000),
  MILLRACE_SERVING_STREAM_IN_FLIGHT_MAX: z.coerce.number().int().min(1).max(1_024).default(64),
});

export type Config = ReturnType<typeof loadConfig>;

export function loadConfig(env: Env) {
  const limits = parseEnv(limitsSchema, env);
  return {
    ...commonConfig(env),
    parityRowsPerSecond: parseEnv(paritySchema, env).MILLRACE_SERVING_PARITY_ROWS_PER_S,
    ingestionAddress: parseEnv(peersSchema, env).MILLRACE_INGESTION_ADDRESS,
    limits: {
      rowsMax: limits.MILLRACE_SERVING_ROWS_MAX,
      readTimeoutMs: limits.MILLRACE_SERVING_READ_TIMEOUT_MS,
      partialReserveMs: limits.MILLRACE_SERVING_PARTIAL_RESERVE_MS,
      historyTimeoutMs: limits.MILLRACE_SERVING_HISTORY_TIMEOUT_MS,
    } satisfies ReadLimits,
    admission: {
      inFlightRowsMax: limits.MILLRACE_SERVING_IN_FLIGHT_ROWS_MAX,
      callerInFlightRowsMax: limits.MILLRACE_SERVING_CALLER_IN_FLIGHT_ROWS_MAX,
      callerRowsPerSMax: limits.MILLRACE_SERVING_CALLER_ROWS_PER_S_MAX,
      queueTargetMs: limits.MILLRACE_SERVING_QUEUE_TARGET_MS,
    } satisfies AdmissionLimits,
    coalesce: limits.MILLRACE_SERVING_COALESCE,
    near: {
      ttlMs: limits.MILLRACE_SERVING_NEAR_TTL_MS,
      entriesMax: limits.MILLRACE_SERVING_NEAR_ENTRIES_MAX,
      bytesMax: limits.MILLRACE_SERVING_NEAR_BYTES_MAX,
      readTimeoutMs: limits.MILLRACE_SERVING_READ_TIMEOUT_MS,
    },
    usageIntervalMs: limits.MILLRACE_SERVING_USAGE_INTERVAL_MS,
    processes: limits.MILLRACE_SERVING_PROCESSES,
    searchCandidatesMax: limits.MILLRACE_SERVING_SEARCH_CANDIDATES_MAX,
    streamInFlightMax: limits.MILLRACE_SERVING_STREAM_IN_FLIGHT_MAX,
  };
}
