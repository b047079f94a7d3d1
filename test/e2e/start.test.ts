import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { lockFolder } from '../../deploy/local/src/lock.ts';

const root = join(import.meta.dirname, '..', '..');

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[], interruptAt?: RegExp): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn('node', [join(root, 'deploy', 'local', 'setup.mjs'), 'start', ...args], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    let interrupted = false;
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
      if (interruptAt?.test(stderr) && !interrupted) {
        interrupted = true;
        child.kill('SIGINT');
      }
    });
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Processes whose command line names the folder: the mesh's stores and services do. */
function processesOf(folder: string): string[] {
  return execFileSync('ps', ['-eo', 'pid,args'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(folder) && !line.includes('vitest'));
}

test('npm start -- --once replays flights, proves parity, prints one JSON summary and leaves no process behind', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-start-'));
  try {
    const args = [
      '--once',
      '--days',
      '0.5',
      '--from',
      '2001-04-02',
      '--history-days',
      '2',
      '--data-dir',
      folder,
      '--base-port',
      '0',
      '--parity-sample',
      '0.5',
    ];
    const { code, stdout, stderr } = await start(args);
    expect(code, stderr.slice(-4000)).toBe(0);
    const summary = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, number> & {
      readonly parity: { readonly compared: number; readonly mismatched: number };
      readonly verifier: { readonly compared: number; readonly mismatched: number };
      readonly freshness_ms: { readonly p50: number; readonly p99: number };
    };
    expect(summary.events_published).toBeGreaterThan(50_000);
    expect(summary.events_in_history).toBe((summary.events_published ?? 0) - (summary.events_quarantined ?? 0));
    expect(summary.events_quarantined).toBe(0);
    expect(summary.predictions).toBeGreaterThan(1_000);
    expect(summary.parity.compared).toBeGreaterThan(1_000);
    expect(
      summary.parity.mismatched,
      stderr
        .split('\n')
        .filter((line) => line.includes('parity:'))
        .join('\n'),
    ).toBe(0);
    expect(summary.verifier.compared).toBeGreaterThan(0);
    expect(summary.verifier.mismatched, stderr.slice(-2000)).toBe(0);
    expect(summary.rows_written).toBeGreaterThan(0);
    expect(summary.freshness_ms.p50).toBeGreaterThan(0);
    expect(summary.auc).toBeGreaterThan(0.5);
    expect(JSON.parse(readFileSync(join(folder, 'endpoints.json'), 'utf8'))).toHaveProperty(
      'services.online-serving.grpc',
    );
    expect(processesOf(folder)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 400_000);

test('an interrupt stops everything in reverse order', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-stop-'));
  try {
    const { stderr } = await start(['--once', '--data-dir', folder, '--base-port', '0'], /loading history/);
    const stopped = [...stderr.matchAll(/stopping (\S+)/g)].map(([, name]) => name);
    expect(stopped).toEqual([
      'model-inference',
      'online-serving',
      'feature-compute',
      'ingestion',
      'governance',
      'clickhouse',
      'nats',
      'redis',
    ]);
    expect(processesOf(folder)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 200_000);

test('a folder that a mesh uses is neither wiped nor used by a second one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-lock-'));
  const kept = join(folder, 'kept');
  writeFileSync(kept, 'x');
  const lock = await lockFolder(folder);
  try {
    const { code, stderr } = await start(['--once', '--fresh', '--data-dir', folder, '--base-port', '0']);
    expect(code).toBe(1);
    expect(stderr).toContain(`a mesh runs on ${folder} (process ${process.pid})`);
    expect(stderr).toContain('--data-dir');
    expect(existsSync(kept)).toBe(true);
    await lock.release();
    await (await lockFolder(folder)).release();
  } finally {
    await lock.release();
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);
