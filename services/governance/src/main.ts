import { ensureStreams, openNats } from '@millrace/events';
import { openHistory } from '@millrace/history';
import { serveGrpc } from '@millrace/rpc';
import { run, serveHttp } from '@millrace/runtime';
import { createPredictionLog } from './adapters/clickhouse-predictions.ts';
import { openDefinitionStore } from './adapters/kv-definition-store.ts';
import { createAuditLog, createRolloutLog } from './adapters/nats-audit.ts';
import { createListAudit } from './app/audit.ts';
import { createGetLineage } from './app/lineage.ts';
import { createRegistry } from './app/registry.ts';
import { loadConfig } from './config.ts';
import { auditService } from './rpc/audit-service.ts';
import { lineageService } from './rpc/lineage-service.ts';
import { registryService } from './rpc/registry-service.ts';

const historyPatienceMs = 3_000;

await run('governance', loadConfig, async ({ config, life, clock, telemetry }) => {
  const nats = await life.start('nats', () => openNats(config.natsUrl, { name: 'governance' }));
  await ensureStreams(nats);
  const store = await openDefinitionStore(nats);
  const registry = createRegistry({ store, nowUs: () => clock.nowUs() });

  const predictions = createPredictionLog(() =>
    openHistory({ url: config.clickhouseUrl, telemetry, patienceMs: historyPatienceMs }),
  );
  life.onStop('history', () => predictions.close());
  const services = [
    registryService({ registry }),
    auditService({ listAudit: createListAudit([createAuditLog(nats), createRolloutLog(nats)]) }),
    lineageService({ getLineage: createGetLineage({ registry, predictions }) }),
  ];

  const grpc = await life.start('grpc', () => serveGrpc({ address: config.grpcAddress, services, telemetry }));
  const http = await life.start('http', () =>
    serveHttp(config.httpAddress, { telemetry, ready: () => !life.signal.aborted }),
  );
  return { grpc: grpc.address, http: http.address };
});
