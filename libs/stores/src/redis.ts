import { mkdirSync } from 'node:fs';
import { onFreePort } from './ports.ts';
import { startProcess } from './process.ts';
import { type Store, type StoreOptions, storeOf } from './store.ts';

/** `redis-server` from the PATH on loopback, without persistence: hot rows are derived data. */
export async function startRedis({ dir, port = 0, ...rest }: StoreOptions): Promise<Store> {
  mkdirSync(dir, { recursive: true });
  return await onFreePort(port, async (chosen) => {
    const child = await startProcess({
      ...rest,
      name: 'redis',
      command: 'redis-server',
      args: ['--bind', '127.0.0.1', '--port', String(chosen), '--save', '', '--appendonly', 'no', '--dir', dir],
      ready: { line: (line) => line.includes('Ready to accept connections') },
    });
    return storeOf(child, { url: `redis://127.0.0.1:${chosen}`, port: chosen, dir });
  });
}
