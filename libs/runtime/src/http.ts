import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MeshError } from '@millrace/kernel';
import type { Telemetry } from './telemetry.ts';

/** Answers a request and says so; `false` leaves it to the next route. */
export type HttpRoute = (request: IncomingMessage, response: ServerResponse) => Promise<boolean> | boolean;

export interface HttpServer {
  /** `host:port`. */
  readonly address: string;
  close(): Promise<void>;
}

/** GET /metrics, /health/live and /health/ready, and the routes given. */
export async function serveHttp(
  address: string,
  parts: { readonly telemetry: Telemetry; readonly ready: () => boolean; readonly routes?: readonly HttpRoute[] },
): Promise<HttpServer> {
  const server = createServer((request, response) => {
    answer(request, response, parts).catch((error: unknown) => {
      parts.telemetry.log.error({ event: 'http_failed', url: request.url ?? '', error: String(error) });
      if (!response.headersSent) json(response, 500, { error: 'internal error' });
    });
  });
  const { hostname, port } = new URL(`http://${address}`);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new MeshError('INVALID_CONFIG', `could not listen on "${address}"`, { address }, { cause })),
    );
    server.listen(Number(port), hostname, resolve);
  });
  const bound = server.address() as AddressInfo;
  return {
    address: `${hostname}:${bound.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { telemetry, ready, routes = [] }: Parameters<typeof serveHttp>[1],
): Promise<void> {
  const path = (request.url ?? '/').split('?')[0];
  if (path === '/metrics') {
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(await telemetry.metrics.text());
    return;
  }
  if (path === '/health/live') return json(response, 200, { live: true });
  if (path === '/health/ready') return json(response, ready() ? 200 : 503, { ready: ready() });
  for (const route of routes) if (await route(request, response)) return;
  json(response, 404, { error: `no route ${request.method} ${path}` });
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
