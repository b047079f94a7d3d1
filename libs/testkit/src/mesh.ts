import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MeshError } from '@millrace/kernel';
import { type ClickHouseStore, type Store, startClickHouse, startNats, startRedis } from '@millrace/stores';
import { type RunningService, type ServiceOptions, spawnService } from './service.ts';

export type StoreName = 'redis' | 'nats' | 'clickhouse';

export type TestMesh = {
  /** A temporary directory, removed by `close`. */
  readonly dir: string;
  /** The environment that services take: the MILLRACE_*_URL of the stores that were asked for. */
  readonly env: Readonly<Record<string, string>>;
  /** Throw when the store was not asked for. */
  readonly redis: Store;
  readonly nats: Store;
  readonly clickhouse: ClickHouseStore;
  /** Starts a service with `env`, a data directory below `dir`, and the variables given; `close` stops it. */
  service(name: string, env?: Readonly<Record<string, string>>, options?: ServiceOptions): Promise<RunningService>;
  /** Stops services (latest first), then stores, and removes the directory. Idempotent. */
  close(): Promise<void>;
};

/** Real stores as child processes on free ports, started side by side, in one temporary directory. */
export async function createTestMesh({
  stores,
  historyNice,
}: {
  readonly stores: readonly StoreName[];
  /** The nice value of ClickHouse; 0 unless given. */
  readonly historyNice?: number;
}): Promise<TestMesh> {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-mesh-'));
  const wants = (name: StoreName) => stores.includes(name);
  const started: Store[] = [];
  const services: RunningService[] = [];
  let closing: Promise<void> | undefined;

  async function closeAll(): Promise<void> {
    for (const service of services.splice(0).reverse()) await service.stop();
    await Promise.all(started.splice(0).map((store) => store.stop()));
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  }

  async function open<S extends Store>(
    name: StoreName,
    start: (options: { readonly dir: string }) => Promise<S>,
  ): Promise<S | undefined> {
    if (!wants(name)) return undefined;
    const store = await start({ dir: join(dir, name) });
    started.push(store);
    return store;
  }

  const opened = await Promise.allSettled([
    open('redis', startRedis),
    open('nats', startNats),
    open('clickhouse', ({ dir }) => startClickHouse(historyNice === undefined ? { dir } : { dir, nice: historyNice })),
  ]);
  const failed = opened.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await closeAll();
    throw failed.reason;
  }
  const [redis, nats, clickhouse] = opened.map((result) => (result.status === 'fulfilled' ? result.value : undefined));
  const env: Readonly<Record<string, string>> = {
    ...(redis && { MILLRACE_REDIS_URL: redis.url }),
    ...(nats && { MILLRACE_NATS_URL: nats.url }),
    ...(clickhouse && { MILLRACE_CLICKHOUSE_URL: clickhouse.url }),
  };
  return {
    dir,
    env,
    get redis() {
      return wanted('redis', redis);
    },
    get nats() {
      return wanted('nats', nats);
    },
    get clickhouse() {
      return wanted('clickhouse', clickhouse as ClickHouseStore | undefined);
    },
    async service(name, more = {}, options = {}) {
      const data = { MILLRACE_DATA_DIR: join(dir, `${name}-${services.length}`) };
      const service = await spawnService(name, { ...env, ...data, ...more }, options);
      services.push(service);
      return service;
    },
    close() {
      closing ??= closeAll();
      return closing;
    },
  };
}

function wanted<S>(name: StoreName, store: S | undefined): S {
  if (store !== undefined) return store;
  throw new MeshError('INTERNAL', `store "${name}" was not asked for: createTestMesh({ stores: ['${name}'] })`, {
    store: name,
  });
}
