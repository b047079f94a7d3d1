import { existsSync, realpathSync } from 'node:fs';
import { join } from 'node:path';

/** The workspace's own Node (24), which runs TypeScript; the machine's may be older. */
export function nodePath(): string {
  const own = join(import.meta.dirname, '..', '..', '..', 'node_modules', '.bin', 'node');
  return realpathSync(existsSync(own) ? own : process.execPath);
}
