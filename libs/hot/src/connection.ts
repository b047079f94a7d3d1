import { MeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { Redis } from 'ioredis';

/** A connection to Redis that comes back by itself, for ever. */
export interface Hot {
  readonly redis: Redis;
  close(): Promise<void>;
}

const commandMs = 5_000;

export interface HotOptions {
  readonly telemetry?: Telemetry;
  /** How long to wait for the first answer; default 30 s. */
  readonly patienceMs?: number;
}

/**
 * STORE_UNAVAILABLE when no server answers within the patience. A command fails after 5 s without an answer, and sooner while the
 * connection is down: after the third vain try to reconnect, so that no queue builds up.
 */
export async function openRedis(url: string, { telemetry, patienceMs = 30_000 }: HotOptions = {}): Promise<Hot> {
  const redis = new Redis(url, {
    lazyConnect: true,
    commandTimeout: commandMs,
    maxRetriesPerRequest: 3,
    retryStrategy: (attempt) => Math.min(50 * attempt, 500),
    // after a failover the address may lead to a replica; any other error of a command says nothing about the connection
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
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
  const untilMs = Date.now() + patienceMs;
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
