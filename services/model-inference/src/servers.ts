import { type ServiceBinding, serveGrpc } from '@millrace/rpc';
import type { ReadyInfo, RunContext } from '@millrace/runtime';
import type { DriftMonitor } from './app/drift-monitor.ts';
import type { ModelBook } from './app/model-book.ts';
import type { OipServer } from './app/oip-server.ts';
import type { InferenceConfig } from './config.ts';
import { createRest } from './http/rest.ts';

interface Served {
  readonly oip: OipServer;
  readonly book: ModelBook;
  readonly services: readonly ServiceBinding[];
  /** Undefined: nothing is watched. */
  readonly drift: DriftMonitor | undefined;
}

/** Both wires, the last to start and the first to stop. */
export async function openServers(
  { config, life, telemetry }: RunContext<InferenceConfig>,
  { oip, book, services, drift }: Served,
): Promise<ReadyInfo> {
  const grpc = await life.start('grpc', () =>
    serveGrpc({
      address: config.grpcAddress,
      services,
      telemetry,
      limits: { maxMessageBytes: config.messageBytesMax },
    }),
  );
  const ready = () => !life.signal.aborted && book.settled();
  const rest = createRest({ server: oip, telemetry, ready, drift, bytesMax: config.messageBytesMax });
  const http = await life.start('http', async () => {
    const { hostname: host, port } = new URL(`http://${config.httpAddress}`);
    const url = await rest.listen({ host, port: Number(port) });
    return { address: new URL(url).host, close: () => rest.close() };
  });
  return { grpc: grpc.address, http: http.address };
}
