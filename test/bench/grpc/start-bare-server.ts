import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pinned } from '../serving-load.ts';

/** Starts the peer of bare-server.ts on the first core; `method` is `/package.Service/Method`. */
export async function startBareServer(
  answerFile: string,
  method: string,
): Promise<{ readonly address: string; readonly child: ChildProcess }> {
  const child = spawn(...pinned(0, [join(import.meta.dirname, 'bare-server.ts'), answerFile, method]), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { address: (JSON.parse(line) as { address: string }).address, child };
}
