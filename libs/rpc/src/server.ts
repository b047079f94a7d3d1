import { type AddressInfo, createServer, type Server } from 'node:net';
import { MeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { ServiceBinding } from './binding.ts';
import type { Connection } from './h2/connection.ts';
import { HealthState } from './health.ts';
import { reflectionMethods } from './reflection.ts';
import type { CallHead } from './server/call-head.ts';
import { serveConnection } from './server/serve-connection.ts';

export interface GrpcServer {
  /** `host:port`. */
  readonly address: string;
  /** What grpc.health.v1 tells. */
  setServing(serving: boolean): void;
  /** Lets calls in flight end, for at most two seconds. */
  close(): Promise<void>;
}

export interface GrpcServerOptions {
  /** `host:port`; port 0: any free one. */
  readonly address: string;
  readonly services: readonly ServiceBinding[];
  readonly telemetry: Telemetry;
  /** Default 8 MiB; a larger message is refused with RESOURCE_EXHAUSTED that names both sizes. */
  readonly limits?: { readonly maxMessageBytes?: number };
}

const closePatienceMs = 2_000;
const connectionsMax = 10_000;

/** A gRPC server with health and reflection. INVALID_CONFIG when the address cannot be bound. */
export async function serveGrpc({ address, services, telemetry, limits = {} }: GrpcServerOptions): Promise<GrpcServer> {
  const { log } = telemetry;
  const names = services.map(({ name }) => name);
  const health = new HealthState(names);
  const bound = [...services, health.binding()].flatMap((binding) => binding.methods(telemetry));
  const all = [...bound, ...reflectionMethods([...names, 'grpc.health.v1.Health'])];
  const methods = new Map(all.map((method) => [method.path, method]));
  const callLimits = { maxMessageBytes: limits.maxMessageBytes ?? 8 * 2 ** 20 };
  const connections = new Set<Connection<CallHead>>();
  const server = createServer((socket) => {
    const connection = serveConnection(socket, {
      methods,
      limits: callLimits,
      onClose(closed, error) {
        connections.delete(closed);
        if (error) log.warn({ event: 'rpc_connection_failed', peer: closed.peer, error: error.message });
      },
    });
    connections.add(connection);
  });
  server.maxConnections = connectionsMax;
  const port = await listen(server, address);
  return {
    address: `${address.slice(0, address.lastIndexOf(':'))}:${port}`,
    setServing: (serving) => health.setServing(serving),
    async close() {
      health.setServing(false);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const connection of connections) connection.leave();
      const forced = setTimeout(() => {
        for (const connection of connections) connection.destroy();
      }, closePatienceMs);
      await closed;
      clearTimeout(forced);
    },
  };
}

function listen(server: Server, address: string): Promise<number> {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new MeshError('INVALID_CONFIG', `could not listen on "${address}"; is the port taken?`, { address }, { cause }),
      ),
    );
    server.listen(Number(address.slice(colon + 1)), host, () => resolve((server.address() as AddressInfo).port));
  });
}
