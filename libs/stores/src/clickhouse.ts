import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MeshError } from '@millrace/kernel';
import { nodePath } from './node-path.ts';
import { freePort, onFreePort } from './ports.ts';
import { startProcess } from './process.ts';
import { type Store, type StoreOptions, storeOf } from './store.ts';

export type ClickHouseOptions = StoreOptions & {
  /** 'auto' (the default) takes a server of version 24 or later from the PATH, and chDB where there is none. */
  readonly engine?: 'auto' | 'server' | 'chdb';
};

export type ClickHouseStore = Store & { readonly engine: 'server' | 'chdb' };

const versionMin = 24;
/** Queries that run at once in chDB, each on a libuv thread; the rest of the threads do files and compression. */
const chdbSessions = 24;
const chdbThreads = chdbSessions + 8;

/** ClickHouse over HTTP on loopback: a real server where one is installed, else chDB behind the same interface. */
export async function startClickHouse({ engine = 'auto', ...options }: ClickHouseOptions): Promise<ClickHouseStore> {
  mkdirSync(options.dir, { recursive: true });
  const command = engine === 'chdb' ? undefined : findServer();
  if (command !== undefined) return extend(await startServer(options, command), 'server');
  if (engine === 'server') {
    throw new MeshError(
      'PROCESS_FAILED',
      `no clickhouse server of version ${versionMin} or later is on the PATH: install one or use engine "chdb"`,
      { process: 'clickhouse', versionMin },
    );
  }
  return extend(await startChdb(options), 'chdb');
}

/** Keeps the store's getters alive, which spreading would read once. */
function extend(store: Store, engine: 'server' | 'chdb'): ClickHouseStore {
  return Object.defineProperty(store, 'engine', { value: engine, enumerable: true }) as ClickHouseStore;
}

/** `ClickHouse server version 24.8.4.13 (official build)` → 24; Debian's own 18.16 is refused by this. */
export function majorVersion(text: string): number {
  return Number(/version\s+v?(\d+)\./.exec(text)?.[1] ?? 0);
}

function findServer(): readonly [string, ...string[]] | undefined {
  const candidates: readonly (readonly [string, ...string[]])[] = [['clickhouse', 'server'], ['clickhouse-server']];
  return candidates.find(([command, ...args]) => {
    const { stdout, status } = spawnSync(command, [...args, '--version'], { encoding: 'utf8', timeout: 5_000 });
    return status === 0 && majorVersion(stdout) >= versionMin;
  });
}

async function startChdb({ dir, port = 0, ...rest }: StoreOptions): Promise<Store> {
  let bound = port;
  const entry = join(import.meta.dirname, 'chdb', 'main.ts');
  const argsFor = (listenPort: number) => [entry, dir, String(listenPort), String(chdbSessions)];
  const child = await startProcess({
    ...rest,
    name: 'clickhouse',
    command: nodePath(),
    args: argsFor(port),
    env: { UV_THREADPOOL_SIZE: String(chdbThreads), NODE_OPTIONS: undefined },
    ready: {
      line(line) {
        const found = /^\{"event":"ready".*"port":(\d+)/.exec(line)?.[1];
        if (found !== undefined) bound = Number(found);
        return found !== undefined;
      },
    },
  });
  return storeOf(child, { url: `http://127.0.0.1:${bound}`, port: bound, dir, restartArgs: argsFor(bound) });
}

async function startServer(
  { dir, port = 0, ...rest }: StoreOptions,
  [command, ...args]: readonly [string, ...string[]],
): Promise<Store> {
  return await onFreePort(port, async (chosen) => {
    const configFile = join(dir, 'config.xml');
    writeFileSync(configFile, serverConfig(dir, chosen, await freePort()));
    const url = `http://127.0.0.1:${chosen}`;
    const child = await startProcess({
      ...rest,
      name: 'clickhouse',
      command,
      args: [...args, `--config-file=${configFile}`],
      cwd: dir,
      // A real server runs under a watchdog of its own otherwise, and signals would reach that alone.
      env: { CLICKHOUSE_WATCHDOG_ENABLE: '0' },
      ready: { poll: async (signal) => (await (await fetch(`${url}/ping`, { signal })).text()).startsWith('Ok') },
    });
    return storeOf(child, { url, port: chosen, dir });
  });
}

function serverConfig(dir: string, httpPort: number, tcpPort: number): string {
  const path = (name: string) => `${join(dir, name)}/`;
  return `<clickhouse>
  <logger><level>warning</level><console>true</console></logger>
  <listen_host>127.0.0.1</listen_host>
  <http_port>${httpPort}</http_port>
  <tcp_port>${tcpPort}</tcp_port>
  <path>${path('data')}</path>
  <tmp_path>${path('tmp')}</tmp_path>
  <user_files_path>${path('user_files')}</user_files_path>
  <mark_cache_size>268435456</mark_cache_size>
  <user_directories><users_xml><path>${join(dir, 'config.xml')}</path></users_xml></user_directories>
  <profiles><default></default></profiles>
  <quotas><default></default></quotas>
  <users><default><password></password><networks><ip>127.0.0.1</ip></networks>
    <profile>default</profile><quota>default</quota><access_management>1</access_management></default></users>
</clickhouse>
`;
}
