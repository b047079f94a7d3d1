import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'millrace-first-hour-'));

type Block = { readonly language: string; readonly text: string };

/** The document is the test: its ```sh blocks are run in order, and what a ```text block says must come out of the one before it. */
const blocks: Block[] = [
  ...readFileSync(join(root, 'docs', 'first-hour.md'), 'utf8').matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm),
].map(([, language = '', text = '']) => ({ language, text }));

let mesh: ReturnType<typeof spawn>;

beforeAll(async () => {
  // a user's mesh would have made it
  mkdirSync(join(root, '.millrace'), { recursive: true });
  const [first] = blocks.filter(({ language }) => language === 'sh');
  const [npm, script, ...args] = (first?.text.trim() ?? '').split(' ');
  expect([npm, script, ...args].join(' ')).toBe('npm start -- --empty');
  mesh = spawn('npm', ['start', '--', '--empty', '--data-dir', folder, '--base-port', '0'], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    mesh.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes('the mesh is ready')) resolve();
    });
    mesh.once('exit', () => reject(new Error(`the mesh ended: ${said.slice(-2_000)}`)));
  });
}, 120_000);

afterAll(async () => {
  const ended = new Promise((resolve) => mesh.once('exit', resolve));
  process.kill(-(mesh.pid ?? 0), 'SIGINT');
  await ended;
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}, 60_000);

function run(script: string): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
    cwd: root,
    env: { ...process.env, MILLRACE_ENDPOINTS: join(folder, 'endpoints.json') },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, output })));
}

/** A line of the document as a pattern: `…` stands for anything, runs of blanks and lines of tables for themselves or others. */
function pattern(line: string): RegExp {
  const escaped = line.trim().replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(escaped.replaceAll('…', '.*').replace(/\s+/g, '\\s+'));
}

test('every command of docs/first-hour.md does what the document says', async () => {
  let commands = 0;
  let lines = 0;
  let last = '';
  for (const { language, text } of blocks.slice(1)) {
    if (language === 'sh') {
      const { code, output } = await run(text);
      expect(code, `${text}\n${output}`).toBe(0);
      last = output;
      commands += text.trim().split('\n').length;
    } else if (language === 'text') {
      let rest = last;
      for (const line of text.split('\n').filter((each) => each.trim() !== '' && each.trim() !== '…')) {
        const found = pattern(line).exec(rest);
        expect(found, `"${line}" in\n${last}`).not.toBeNull();
        rest = rest.slice((found?.index ?? 0) + (found?.[0].length ?? 0));
        lines++;
      }
    }
  }
  expect(commands).toBeGreaterThan(8);
  expect(lines).toBeGreaterThan(20);
}, 300_000);

test('the definitions that the document shows are those of the example', () => {
  const [shown] = blocks.filter(({ language }) => language === 'yaml');
  expect(shown?.text).toBe(readFileSync(join(root, 'deploy', 'examples', 'weather', 'definitions.yaml'), 'utf8'));
});
