import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { MeshError } from '@millrace/kernel';
import type { Endpoints } from '@millrace/sdk';
import {
  type RunningProcess,
  type Store,
  startClickHouse,
  startNats,
  startProcess,
  startRedis,
} from '@millrace/stores';
import type { Listener, Ports } from './ports.ts';

export interface MeshOptions {
  readonly dataDir: string;
  readonly ports: Ports;
  readonly modelDir: string;
  readonly otlpEndpoint: string | undefined;
  readonly say: (text: string) => void;
}

export interface Mesh {
  readonly endpoints: Endpoints;
  /** Settles when a part ends on its own, with an error that holds the tail of its log. */
  readonly failed: Promise<MeshError>;
  stop(): Promise<void>;
}

const root = resolve(import.meta.dirname, '..', '..', '..');
/** In the order of their start; they stop in reverse. */
const services = ['governance', 'ingestion', 'feature-compute', 'online-serving', 'model-inference'] as const;

/** Starts the stores and the five services, each a process of its own; on failure everything that was started is stopped again. */
export async function startMesh(options: MeshOptions): Promise<Mesh> {
  const started: { readonly name: string; stop(): Promise<unknown> }[] = [];
  const failures: Promise<MeshError>[] = [];
  let stopping = false;
  const stop = async (): Promise<void> => {
    stopping = true;
    for (const part of started.splice(0).reverse()) {
      options.say(`stopping ${part.name}`);
      await part.stop();
    }
  };
  const begin = async <T extends { stop(): Promise<unknown> }>(name: string, open: () => Promise<T>): Promise<T> => {
    const sinceMs = Date.now();
    const part = await open();
    started.push({ name, stop: () => part.stop() });
    options.say(`${name} is up (${((Date.now() - sinceMs) / 1000).toFixed(1)} s)`);
    return part;
  };
  try {
    const stores = await startStores(options, begin);
    const addresses: Record<string, { grpc: string; http: string }> = {};
    for (const service of services) {
      const running = await begin(service, () => startService(service, options, stores, addresses));
      failures.push(failureOf(service, running.process));
      addresses[service] = running.address;
    }
    const endpoints: Endpoints = { services: addresses, stores };
    writeFileSync(join(options.dataDir, 'endpoints.json'), `${JSON.stringify(endpoints, null, 2)}\n`);
    const failed = Promise.race(failures).then((error) => (stopping ? new Promise<never>(() => {}) : error));
    return { endpoints, failed, stop };
  } catch (thrown) {
    await stop();
    throw thrown;
  }
}

/** What is live goes first on two cores; nobody waits for history but those who ask for it. */
const historyNice = 19;

type Begin = <T extends { stop(): Promise<unknown> }>(name: string, open: () => Promise<T>) => Promise<T>;

async function startStores(options: MeshOptions, begin: Begin): Promise<Endpoints['stores']> {
  const at = (name: 'redis' | 'nats' | 'clickhouse') => {
    const dir = join(options.dataDir, name);
    mkdirSync(dir, { recursive: true });
    return { dir, port: options.ports.get(name) ?? 0, logFile: join(options.dataDir, 'logs', `${name}.log`) };
  };
  const redis: Store = await begin('redis', () => startRedis(at('redis')));
  const nats: Store = await begin('nats', () => startNats(at('nats')));
  const clickhouse: Store = await begin('clickhouse', () =>
    startClickHouse({ ...at('clickhouse'), nice: historyNice }),
  );
  return { redis: redis.url, nats: nats.url, clickhouse: clickhouse.url };
}

async function startService(
  service: (typeof services)[number],
  options: MeshOptions,
  stores: Endpoints['stores'],
  peers: Readonly<Record<string, { readonly grpc: string }>>,
) {
  const dataDir = join(options.dataDir, service);
  const logDir = join(options.dataDir, 'logs');
  mkdirSync(dataDir, { recursive: true });
  mkdirSync(logDir, { recursive: true });
  const address = (kind: 'grpc' | 'http') => `127.0.0.1:${options.ports.get(`${service}/${kind}` as Listener) ?? 0}`;
  const onlineServing = peers['online-serving']?.grpc;
  const ingestion = peers.ingestion?.grpc;
  let ready: { readonly grpc: string; readonly http: string } | undefined;
  const running = await startProcess({
    name: service,
    command: process.execPath,
    args: [join(root, 'services', service, 'src', 'main.ts')],
    cwd: root,
    env: {
      NODE_OPTIONS: '--disable-warning=ExperimentalWarning',
      MILLRACE_NATS_URL: stores.nats,
      MILLRACE_REDIS_URL: stores.redis,
      MILLRACE_CLICKHOUSE_URL: stores.clickhouse,
      MILLRACE_GRPC_ADDRESS: address('grpc'),
      MILLRACE_HTTP_ADDRESS: address('http'),
      MILLRACE_DATA_DIR: dataDir,
      MILLRACE_MODEL_DIR: options.modelDir,
      MILLRACE_INGESTION_LOAD_FOLDERS: root,
      ...(options.otlpEndpoint === undefined ? {} : { MILLRACE_OTLP_ENDPOINT: options.otlpEndpoint }),
      ...(ingestion === undefined ? {} : { MILLRACE_INGESTION_ADDRESS: ingestion }),
      ...(onlineServing === undefined ? {} : { MILLRACE_ONLINE_SERVING_ADDRESS: onlineServing }),
    },
    logFile: join(logDir, `${service}.log`),
    ready: {
      line(line) {
        if (!line.includes('"event":"ready"')) return false;
        ready = JSON.parse(line) as { grpc: string; http: string };
        return true;
      },
    },
    readyTimeoutMs: 60_000,
  });
  if (!ready) throw new MeshError('PROCESS_FAILED', `service "${service}" did not say where it listens`, { service });
  return { process: running, address: { grpc: ready.grpc, http: ready.http }, stop: () => running.stop() };
}

async function failureOf(service: string, running: RunningProcess): Promise<MeshError> {
  await running.exited;
  return new MeshError(
    'PROCESS_FAILED',
    `service "${service}" ended on its own; the end of its log:\n${running.tail()}`,
    { service },
  );
}
