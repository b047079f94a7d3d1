import { ingestion } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { connect } from '@millrace/rpc';
import type { Telemetry } from '@millrace/runtime';
import type { EventPublisher } from '../feast/push.ts';

/** Events to ingestion over gRPC. Without an address every push says so. */
export function createIngestionPublisher(options: {
  readonly address: string;
  readonly telemetry: Telemetry;
}): EventPublisher & { close(): void } {
  const { address, telemetry } = options;
  if (address === '') {
    return {
      publish: () =>
        Promise.reject(
          new MeshError(
            'SERVICE_UNAVAILABLE',
            'online-serving was not told where ingestion is; set MILLRACE_INGESTION_ADDRESS to take pushes',
            { variable: 'MILLRACE_INGESTION_ADDRESS' },
          ),
        ),
      close: () => {},
    };
  }
  const client = connect(ingestion.IngestionServiceService, address, { telemetry });
  return {
    publish: (source, events) => client.publish({ source, events: [...events] }),
    close: () => client.close(),
  };
}
