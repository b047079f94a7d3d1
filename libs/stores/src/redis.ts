import { mkdirSync } from 'node:fs';
import { onFreePort } from './ports.ts';
import { startProcess } from './process.ts';
import { type Store, type StoreOptions, storeOf } from './store.ts';

/** What libs/hot wants of Redis (its README says why); the same in deploy/compose. */
const forRows = ['--hash-max-listpack-entries', '64', '--hash-max-listpack-value', '128'];

/** `redis-server` from the PATH on loopback, without persistence: hot rows are derived data. `settings` take the place of those for rows. */
export async function startRedis({
  dir,
  port = 0,
  settings = forRows,
  ...rest
}: StoreOptions & { readonly settings?: readonly string[] }): Promise<Store> {
  mkdirSync(dir, { recursive: true });
  return await onFreePort(port, async (chosen) => {
    const child = await startProcess({
      ...rest,
      name: 'redis',
      command: 'redis-server',
      args: [
        '--bind',
        '127.0.0.1',
        '--port',
        String(chosen),
        '--save',
        '',
        '--appendonly',
        'no',
        '--dir',
        dir,
        ...settings,
      ],
      ready: { line: (line) => line.includes('Ready to accept connections') },
    });
    return storeOf(child, { url: `redis://127.0.0.1:${chosen}`, port: chosen, dir });
  });
}
