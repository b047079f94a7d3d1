import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MeshError } from '@millrace/kernel';
import { afterAll, expect, test } from 'vitest';
import { majorVersion } from './clickhouse.ts';
import { startProcess } from './process.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-process-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const ready = { line: (line: string) => line === 'ready' };
const shell = (script: string) => ({ name: 'shell', command: '/bin/sh', args: ['-c', script], ready });

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.[0] !== 'Z';
  } catch {
    return false;
  }
}

async function untilGone(pid: number): Promise<void> {
  for (let attempt = 0; attempt < 200 && isAlive(pid); attempt++) await new Promise((done) => setTimeout(done, 10));
  expect(isAlive(pid)).toBe(false);
}

test('a process that ends before it is ready throws with its last lines', async () => {
  const failure = await startProcess(shell('echo one; echo two >&2; exit 3')).catch((cause: unknown) => cause);
  expect(failure).toBeInstanceOf(MeshError);
  expect(failure).toMatchObject({ reason: 'PROCESS_FAILED', metadata: { process: 'shell', code: '3' } });
  expect((failure as MeshError).metadata.log).toMatch(/one/);
  expect((failure as MeshError).metadata.log).toMatch(/two/);
});

test('a command that does not exist throws with its name', async () => {
  const failure = startProcess({ name: 'nothing', command: '/no/such/command', args: [], ready });
  await expect(failure).rejects.toThrow(/process "nothing" ended before it was ready.*no\/such\/command/s);
});

test('a process that is never ready is killed at the deadline', async () => {
  const failure = startProcess({ ...shell('echo $$; sleep 60'), readyTimeoutMs: 200 });
  const { metadata } = (await failure.catch((cause: unknown) => cause)) as MeshError;
  await untilGone(Number(metadata.log));
});

test('an aborted start kills the process and throws the reason of the abort', async () => {
  const abort = new AbortController();
  const failure = startProcess({ ...shell('sleep 60'), signal: abort.signal });
  setTimeout(() => abort.abort(new Error('changed my mind')), 50);
  await expect(failure).rejects.toThrow('changed my mind');
});

test('a poll makes a process ready, and its errors are only "not yet"', async () => {
  let asked = 0;
  const poll = async () => {
    if (++asked < 3) throw new Error('connection refused');
    return true;
  };
  const child = await startProcess({ ...shell('sleep 60'), ready: { poll } });
  expect(asked).toBe(3);
  expect(child.running).toBe(true);
  expect(await child.kill9()).toEqual({ code: null, signal: 'SIGKILL' });
});

test('stop ends the whole group, by force when it will not listen, and restart starts it again', async () => {
  const logFile = join(dir, 'logs', 'stubborn.log');
  const child = await startProcess({
    ...shell('trap "" TERM; sleep 60 & echo $!; echo ready; while :; do sleep 1; done'),
    logFile,
  });
  const grandchild = Number(child.tail().split('\n')[0]);
  expect(isAlive(grandchild)).toBe(true);
  expect(await child.stop({ graceMs: 100 })).toEqual({ code: null, signal: 'SIGKILL' });
  await untilGone(grandchild);
  const before = child.pid;
  await child.restart();
  expect(child.pid).not.toBe(before);
  await child.kill9();
  expect(await child.stop()).toEqual({ code: null, signal: 'SIGKILL' });
  expect(readFileSync(logFile, 'utf8').match(/ready/g)?.length).toBe(2);
});

test('children die with a parent that was killed', async () => {
  const script = `import { startProcess } from ${JSON.stringify(join(import.meta.dirname, 'process.ts'))};
    const start = () => startProcess({ name: 'child', command: '/bin/sh', args: ['-c', 'echo ready; sleep 60'],
      ready: { line: (line) => line === 'ready' } });
    const [first, second] = [await start(), await start()];
    await first.restart();
    console.log(first.pid, second.pid);
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const pids = line.toString().trim().split(' ').map(Number);
  expect(pids.map(isAlive)).toEqual([true, true]);
  parent.kill('SIGKILL');
  for (const pid of pids) await untilGone(pid);
});

test('the version tells a ClickHouse server that is too old', () => {
  expect(majorVersion('ClickHouse server version 18.16.1.')).toBe(18);
  expect(majorVersion('ClickHouse server version 25.8.2.29 (official build).')).toBe(25);
  expect(majorVersion('something else')).toBe(0);
});
