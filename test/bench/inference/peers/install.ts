import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const folder = join(import.meta.dirname, '..', '..', '..', '..', '.millrace', 'bench', 'inference');

/** Where models are kept that are made here. */
export const made: string = join(folder, 'made');

/** Each has packages of its own: what one of them needs another cannot have. */
export type Environment = 'mlserver' | 'kserve' | 'bentoml' | 'models';

/** The folder of the environment's programs; undefined, with the reason told, where Python or its packages cannot be had. */
export async function installed(
  name: Environment,
  progress: (text: string) => void,
  signal: AbortSignal,
): Promise<string | undefined> {
  const venv = join(folder, name);
  const bin = join(venv, 'bin');
  const done = join(venv, 'installed.txt');
  const file = join(import.meta.dirname, 'requirements', `${name}.txt`);
  const wanted = readFileSync(file, 'utf8');
  if (existsSync(done) && readFileSync(done, 'utf8') === wanted) return bin;
  progress(`installing ${wanted.trim().replaceAll('\n', ' ')} into ${venv}`);
  try {
    rmSync(venv, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    await execute('python3', ['-m', 'venv', venv], { signal });
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', file];
    await execute(join(bin, 'python'), pip, { signal, timeout: 300_000 });
    writeFileSync(done, wanted);
    return bin;
  } catch (thrown) {
    signal.throwIfAborted();
    const detail = thrown instanceof Error ? thrown.message.split('\n').slice(0, 2).join(' ') : String(thrown);
    progress(`no ${name} to compare with: ${detail}`);
    return undefined;
  }
}
