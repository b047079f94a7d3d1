import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { engineError, toEngineError } from './engine-error.ts';
import { execute } from './execute.ts';
import { createReply } from './reply.ts';
import { readRequest } from './request.ts';
import { createSessions } from './sessions.ts';

export type ChdbServer = { readonly port: number; close(): Promise<void> };

/** ClickHouse's HTTP interface over chDB. One per process, since chDB holds one data directory per process. */
export async function startChdbServer({
  dir,
  port,
  sessionsMax,
}: {
  readonly dir: string;
  readonly port: number;
  readonly sessionsMax: number;
}): Promise<ChdbServer> {
  const tmpDir = join(dir, 'http');
  rmSync(tmpDir, { recursive: true, force: true });
  mkdirSync(tmpDir, { recursive: true });
  const sessions = createSessions({ dir: join(dir, 'data'), tmpDir, countMax: sessionsMax });
  const [version = '', timezone = ''] = await aboutEngine(sessions);
  let requests = 0;

  async function handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (message.url ?? '/').split('?', 1)[0];
    if (path === '/ping' || path === '/replicas_status') return void response.end('Ok.\n');
    if (path !== '/') return void response.writeHead(404).end('There is no handle for this path\n');
    if (message.method === 'GET' && message.url === '/') return void response.end('Ok.\n');
    const queryId = queryIdOf(message);
    const dataFile = join(tmpDir, `data-${requests++}`);
    const about = { queryId, version, timezone };
    try {
      const request = await readRequest(message, queryId, dataFile);
      const format = 'format' in request.statement ? request.statement.format : undefined;
      const reply = createReply(response, about, { ...request, format: format ?? request.format });
      if (message.method === 'GET' && ['insert', 'command'].includes(request.statement.t)) {
        throw engineError(164, 'READONLY', 'Cannot execute query in readonly mode. Use POST to change data');
      }
      await execute(request, reply, sessions, dataFile);
    } catch (cause) {
      const plain = { format: 'TabSeparated', compress: false, progress: false };
      createReply(response, about, plain).fail(toEngineError(cause));
    } finally {
      await rm(dataFile, { force: true });
    }
  }

  const server = createServer(
    { maxHeaderSize: 1 << 20, keepAliveTimeout: 10_000, requestTimeout: 0 },
    (...exchange) => {
      void handle(...exchange);
    },
  );
  return {
    port: await listen(server, port),
    async close() {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      });
      sessions.close();
    },
  };
}

async function aboutEngine(sessions: ReturnType<typeof createSessions>): Promise<readonly string[]> {
  const lease = await sessions.acquire();
  const { bytes } = await lease
    .run('SELECT version(), timezone()', 'TabSeparated')
    .then((result) => ({ bytes: result.bytes() }));
  lease.release();
  return Buffer.from(bytes).toString('utf8').trim().split('\t');
}

function queryIdOf(message: IncomingMessage): string {
  return new URL(message.url ?? '/', 'http://localhost').searchParams.get('query_id') || randomUUID();
}

async function listen(server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has no port');
  return address.port;
}
