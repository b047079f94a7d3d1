import { ensureStreams, openNats } from '@millrace/events';
import { serveGrpc } from '@millrace/rpc';
import { run, serveHttp } from '@millrace/runtime';
import { openDefinitionStore } from './adapters/kv-definition-store.ts';
import { createRegistry } from './app/registry.ts';
import { loadConfig } from './config.ts';
import { registryService } from './rpc/registry-service.ts';

await run('governance', loadConfig, async ({ config, life, clock, telemetry }) => {
  const nats = await life.start('nats', () => openNats(config.natsUrl, { name: 'governance' }));
  await ensureStreams(nats);
  const store = await openDefinitionStore(nats);
  const registry = createRegistry({ store, nowUs: () => clock.nowUs() });

  const grpc = await life.start('grpc', () =>
    serveGrpc({ address: config.grpcAddress, services: [registryService({ registry })], telemetry }),
  );
  const http = await life.start('http', () =>
    serveHttp(config.httpAddress, { telemetry, ready: () => !life.signal.aborted }),
  );
  return { grpc: grpc.address, http: http.address };
});
