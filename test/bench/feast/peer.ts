import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Store, startRedis } from '@millrace/stores';
import { entities, perView, views } from './data.ts';

const execute = promisify(execFile);
const folder = join(import.meta.dirname, '..', '..', '..', '.millrace', 'bench', 'feast');
const requirements = ['feast[redis]==0.67.0'];
const python = join(folder, 'venv', 'bin', 'python');

export type Peer = {
  readonly redis: Store;
  /** Starts `feast serve`. */
  serve(workers: number): Promise<{ readonly address: string; stop(): Promise<void> }>;
  stop(): Promise<void>;
};

/** The real Feast with its own Redis and the rows in it; undefined, with the reason told, where it cannot be had. */
export async function openPeer(
  dir: string,
  progress: (text: string) => void,
  signal: AbortSignal,
): Promise<Peer | undefined> {
  try {
    await install(progress, signal);
  } catch (thrown) {
    const detail = thrown instanceof Error ? thrown.message.split('\n').slice(0, 2).join(' ') : String(thrown);
    progress(`no Feast to compare with, only ours is measured: ${detail}`);
    return undefined;
  }
  const redis = await startRedis({ dir: join(dir, 'feast-redis'), settings: [] });
  const repo = join(dir, 'feast-repo');
  try {
    progress(`writing ${views * entities} rows with Feast`);
    const args = [repo, String(redis.port), String(views), String(perView), String(entities)];
    await execute(python, [join(import.meta.dirname, 'peer.py'), ...args], { signal, maxBuffer: 2 ** 24 });
  } catch (thrown) {
    await redis.stop();
    throw thrown;
  }
  return { redis, serve: (workers) => serve(repo, workers), stop: async () => void (await redis.stop()) };
}

async function install(progress: (text: string) => void, signal: AbortSignal): Promise<void> {
  const done = join(folder, 'venv', 'bin', 'feast');
  if (existsSync(done)) return;
  progress(`installing ${requirements.join(' ')} into ${folder}`);
  mkdirSync(folder, { recursive: true });
  await execute('python3', ['-m', 'venv', join(folder, 'venv')], { signal });
  await execute(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...requirements], {
    signal,
    timeout: 180_000,
  });
}

/** Its workers are never started anew in the middle, and do not log each request. */
async function serve(repo: string, workers: number) {
  const port = await freePort();
  const args = ['serve', '-h', '127.0.0.1', '-p', String(port), '-w', String(workers)];
  const child = spawn(
    join(folder, 'venv', 'bin', 'feast'),
    ['-c', repo, ...args, '--no-access-log', '--max-requests', '100000000', '-r', '600'],
    { stdio: 'ignore', detached: true },
  );
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const address = `127.0.0.1:${port}`;
  const stop = async () => {
    // gunicorn's workers are of its group
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGTERM');
    await exited;
  };
  for (let tries = 0; tries < 300; tries++) {
    if (child.exitCode !== null) throw new Error(`feast serve ended with ${child.exitCode}`);
    if (
      await fetch(`http://${address}/health`).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      return { address, stop };
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await stop();
  throw new Error('feast serve did not get ready within a minute');
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
