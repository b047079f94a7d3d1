import { readFileSync } from 'node:fs';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { descriptorSetPath } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { ServiceBinding } from './binding.ts';
import { HealthState } from './health.ts';

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

/** A gRPC server with health and reflection. INVALID_CONFIG when the address cannot be bound. */
export async function serveGrpc({ address, services, telemetry, limits = {} }: GrpcServerOptions): Promise<GrpcServer> {
  const server = new Server({
    'grpc.max_receive_message_length': limits.maxMessageBytes ?? 8 * 2 ** 20,
    'grpc.max_send_message_length': -1,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.http2.min_ping_interval_without_data_ms': 5_000,
  });
  const health = new HealthState(services.map(({ name }) => name));
  for (const binding of [...services, health.binding()])
    server.addService(binding.definition, binding.implementation(telemetry));
  reflect(server, services);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (cause, bound) =>
      cause
        ? reject(
            new MeshError(
              'INVALID_CONFIG',
              `could not listen on "${address}"; is the port taken?`,
              { address },
              { cause },
            ),
          )
        : resolve(bound),
    );
  });
  return {
    address: `${address.slice(0, address.lastIndexOf(':'))}:${port}`,
    setServing: (serving) => health.setServing(serving),
    async close() {
      health.setServing(false);
      const forced = setTimeout(() => server.forceShutdown(), closePatienceMs);
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      clearTimeout(forced);
    },
  };
}

function reflect(server: Server, services: readonly ServiceBinding[]): void {
  const contracts = loadFileDescriptorSetFromBuffer(readFileSync(descriptorSetPath));
  new ReflectionService(contracts, {
    services: [...services.map(({ name }) => name), 'grpc.health.v1.Health'],
  }).addToServer(server);
}
