import { MeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { Redis } from 'ioredis';

/** A connection to Redis that comes back by itself, for ever. */
export interface Hot {
  readonly redis: Redis;
  close(): Promise<void>;
}

const firstAnswerMs = 30_000;
const commandMs = 5_000;

/** STORE_UNAVAILABLE when no server answers within 30 s. Commands fail after 5 s without an answer. */
export async function openRedis(url: string, { telemetry }: { readonly telemetry?: Telemetry } = {}): Promise<Hot> {
  const redis = new Redis(url, {
    lazyConnect: true,
    commandTimeout: commandMs,
    maxRetriesPerRequest: 3,
    retryStrategy: (attempt) => Math.min(50 * attempt, 500),
    reconnectOnError: () => true,
  });
  let up = true;
  redis.on('error', (error: Error) => {
    if (up) telemetry?.log.warn({ event: 'redis_lost', error: error.message });
    up = false;
  });
  redis.on('ready', () => {
    if (!up) telemetry?.log.info({ event: 'redis_back' });
    up = true;
  });
  const untilMs = Date.now() + firstAnswerMs;
  for (;;) {
    try {
      if (redis.status === 'wait') await redis.connect();
      await redis.ping();
      return { redis, close: async () => redis.disconnect() };
    } catch (cause) {
      if (Date.now() > untilMs) {
        redis.disconnect();
        throw new MeshError(
          'STORE_UNAVAILABLE',
          `Redis at "${url}" does not answer; is redis-server running?`,
          { url },
          { cause },
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

export function storeUnavailable(what: string, cause: unknown): MeshError {
  return new MeshError('STORE_UNAVAILABLE', `Redis did not ${what}: ${(cause as Error).message}`, {}, { cause });
}
