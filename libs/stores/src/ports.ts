import { createServer } from 'node:net';
import { MeshError } from '@millrace/kernel';

/** A loopback port that was free a moment ago. Another process may take it: callers retry when theirs fails to bind. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new MeshError('INTERNAL', 'a TCP server has no port');
  return address.port;
}

const attemptsMax = 5;

/**
 * Runs `start` on the port asked for, or (port 0) on a free one, again with another when that one was taken meanwhile.
 * Servers that cannot say which port the system gave them are started through this.
 */
export async function onFreePort<T>(port: number, start: (port: number) => Promise<T>): Promise<T> {
  if (port !== 0) return await start(port);
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await freePort());
    } catch (cause) {
      if (attempt === attemptsMax || !isPortTaken(cause)) throw cause;
    }
  }
}

function isPortTaken(cause: unknown): boolean {
  const log = cause instanceof MeshError && cause.reason === 'PROCESS_FAILED' ? cause.metadata.log : undefined;
  return /address already in use|EADDRINUSE/i.test(log ?? '');
}
