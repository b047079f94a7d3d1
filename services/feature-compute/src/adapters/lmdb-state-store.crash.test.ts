import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openLmdbStateStore } from './lmdb-state-store.ts';

const states = 300;

/** Commits `states` states that all say the same position, again and again, until it is killed. */
const writer = (path: string) => `
  import { openLmdbStateStore } from ${JSON.stringify(join(import.meta.dirname, 'lmdb-state-store.ts'))};
  const store = openLmdbStateStore({ path: ${JSON.stringify(path)}, mapBytesMax: 2 ** 28 });
  for (let position = (store.readMeta()?.position ?? 0) + 1; ; position++) {
    const bytes = Buffer.alloc(2_000, String(position) + ' ');
    const changed = Array.from({ length: ${states} }, (_, i) => ({ viewId: 'v@1', entityKey: 'e' + i, bytes }));
    await store.commit(changed, { format: 1, position, frontiers: {}, views: {}, pendingRows: {} });
    if (position % 10 === 0) console.log(position);
  }
`;

test('after kill -9 in the middle of commits the states and the position agree', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-lmdb-crash-'));
  const path = join(dir, 'state');
  let before = 0;
  for (const delayMs of [3, 11, 17]) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', writer(path)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    child.kill('SIGKILL');
    await once(child, 'exit');
    const store = openLmdbStateStore({ path, mapBytesMax: 2 ** 28 });
    const position = store.readMeta()?.position ?? 0;
    const said = new Set(store.scan('v@1', undefined, states + 1).map(({ bytes }) => bytes.toString().split(' ')[0]));
    await store.close();
    expect(position).toBeGreaterThan(before);
    expect([...said]).toEqual([String(position)]);
    before = position;
  }
  rmSync(dir, { recursive: true });
});
