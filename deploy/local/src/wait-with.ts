import { join, resolve } from 'node:path';
import type { Endpoints } from '@millrace/sdk';

/** Says where everything listens and what comes next, then waits until it is told to stop. */
export async function waitWith(
  endpoints: Endpoints,
  dataDir: string,
  signal: AbortSignal,
  say: (text: string) => void,
): Promise<undefined> {
  for (const [service, { grpc, http }] of Object.entries(endpoints.services))
    say(`${service.padEnd(16)} grpc ${grpc}  http://${http}`);
  // the command finds the usual folder by itself
  const named = dataDir === resolve('.millrace') ? '' : ` --endpoints ${join(dataDir, 'endpoints.json')}`;
  say(`the mesh is ready; in another terminal: npm run millrace -- status${named}`);
  say('it goes on until Ctrl-C');
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  return undefined;
}
