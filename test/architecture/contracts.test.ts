import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
const buf = join(root, 'node_modules', '.bin', 'buf');

test('the committed code is what the contracts generate', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-gen-'));
  try {
    const fresh = join(folder, 'gen');
    mkdirSync(fresh);
    execFileSync(process.execPath, [join(root, 'proto', 'generate.mjs'), fresh], { stdio: 'pipe' });
    const committed = contents(join(root, 'libs', 'contracts', 'src', 'gen'));
    expect(committed.size).toBeGreaterThan(10);
    expect([...contents(fresh).keys()]).toEqual([...committed.keys()]);
    for (const [file, text] of contents(fresh))
      expect(text.equals(committed.get(file) ?? Buffer.alloc(0)), file).toBe(true);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('the contracts break nothing that the previous commit promised', () => {
  // a shallow or first checkout has no previous commit: then the check is against HEAD itself
  const parent = revision('HEAD~1') ?? 'HEAD';
  const listed = execFileSync('git', ['ls-tree', '-r', '--name-only', parent, 'proto'], {
    cwd: root,
    encoding: 'utf8',
  });
  if (!listed.includes('.proto')) return;
  execFileSync(buf, ['breaking', 'proto', '--against', `.git#ref=${parent},subdir=proto`], {
    cwd: root,
    stdio: 'pipe',
  });
});

function revision(name: string): string | undefined {
  try {
    return execFileSync('git', ['rev-parse', '--verify', '--quiet', name], { cwd: root, encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

function contents(folder: string): Map<string, Buffer> {
  return new Map(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((file) => [relative(folder, file), readFileSync(file)]),
  );
}
