#!/usr/bin/env node
// The `millrace` command: runs its TypeScript with the Node 24 of the workspace, whatever Node started this file.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const local = join(here, '..', '..', '..', 'node_modules', '.bin', 'node');
const node = existsSync(local) ? local : process.execPath;
const done = spawnSync(node, [join(here, '..', 'src', 'cli', 'main.ts'), ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exit(done.status ?? 1);
