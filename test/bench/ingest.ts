import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { definitions, registry } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { createTestMesh } from '@millrace/testkit';
import type { BenchCases } from './bench.ts';

const { BOOL, DOUBLE, INT64, STRING, TIMESTAMP } = definitions.FieldType;
const source = 'bench';

/** gRPC stream → validated, de-duplicated, packed → JetStream → acknowledged; history is written at the same time. */
export async function run(): Promise<BenchCases> {
  const mesh = await createTestMesh({ stores: ['nats', 'clickhouse', 'redis'] });
  try {
    const governance = await mesh.service('governance');
    const client = connect(registry.RegistryServiceService, governance.grpc, { defaultTimeoutMs: 20_000 });
    await client.apply({ definitions: [benchSource()], removals: [], allowBreaking: true });
    client.close();
    await governance.stop();
    const service = await mesh.service('ingestion', { MILLRACE_LOG_LEVEL: 'warn' });
    const worker = new Worker(new URL('./ingest-client.ts', import.meta.url), {
      workerData: { address: service.grpc, source, batches: 1_000, warmUpBatches: 100, batchEvents: 500, inFlight: 12 },
    });
    const [measured] = (await once(worker, 'message')) as [Record<string, number>];
    return { 'grpc-stream': measured };
  } finally {
    await mesh.close();
  }
}

function benchSource(): definitions.Definition {
  return definitions.Definition.fromPartial({
    name: source,
    metadata: { owner: 'bench', description: 'six fields, about 150 bytes of JSON' },
    file: 'bench',
    spec: {
      $case: 'source',
      value: {
        fields: [
          { name: 'at', type: TIMESTAMP },
          { name: 'origin', type: STRING },
          { name: 'destination', type: STRING },
          { name: 'delay', type: DOUBLE, nullable: true },
          { name: 'distance', type: INT64 },
          { name: 'cancelled', type: BOOL },
        ],
        eventTimeField: 'at',
      },
    },
  });
}
