import { join } from 'node:path';
import { ensureStreams, openNats } from '@millrace/events';
import { openHistory } from '@millrace/history';
import { createRowWriter, openRedis, rowField } from '@millrace/hot';
import { watchRegistry } from '@millrace/registry';
import { serveGrpc } from '@millrace/rpc';
import { run, serveHttp } from '@millrace/runtime';
import { createViewHistory } from './adapters/clickhouse-view-history.ts';
import { openLmdbStateStore } from './adapters/lmdb-state-store.ts';
import { createEventLog } from './adapters/nats-events.ts';
import { redisDropRows, redisIdentity } from './adapters/redis-rows.ts';
import { createEvaluateAsOf } from './app/as-of.ts';
import { openCompute } from './app/compute.ts';
import { createComputeMetrics } from './app/compute-metrics.ts';
import { createDefinitions } from './app/definitions.ts';
import { createStatus } from './app/status.ts';
import { createBuildTrainingSet } from './app/training-set.ts';
import { createVerifySamples } from './app/verify.ts';
import { wantedViews } from './app/wanted-views.ts';
import { loadConfig } from './config.ts';
import { computeService } from './rpc/compute-service.ts';

await run('feature-compute', loadConfig, async ({ config, life, clock, telemetry }) => {
  const metrics = createComputeMetrics(telemetry.metrics);
  const nats = await life.start('nats', () => openNats(config.natsUrl, { name: 'feature-compute' }));
  await ensureStreams(nats);
  const hot = await life.start('redis', () => openRedis(config.redisUrl, { telemetry }));
  const history = await life.start('clickhouse', () => openHistory({ url: config.clickhouseUrl, telemetry }));
  const registry = await life.start('registry', (signal) => watchRegistry(nats, { signal, telemetry }));
  const store = await life.start('state', async () =>
    openLmdbStateStore({ path: join(config.dataDir, 'state'), mapBytesMax: config.stateBytesMax }),
  );

  const events = createEventLog(nats);
  const writer = createRowWriter(hot);
  const viewHistory = createViewHistory(history);
  const compute = await openCompute({
    store,
    events,
    writer,
    field: rowField,
    hot: redisIdentity(hot, writer),
    history: viewHistory,
    dropRows: redisDropRows(hot),
    clock,
    telemetry,
    metrics,
    limits: config,
  });
  const { engine, keeper } = compute;
  const kept = (id: string) => engine.views.get(id)?.record.definition;
  keeper.want(wantedViews(registry.current(), kept, telemetry));
  registry.onChange((next) => keeper.want(wantedViews(next, kept, telemetry)));
  await life.start(
    'computation',
    async (signal) => {
      const stop = AbortSignal.any([signal, life.signal]);
      return { done: compute.run(stop).catch((cause) => life.fail(cause)) };
    },
    async ({ done }) => {
      await done;
      await compute.finish();
    },
  );

  const definitions = createDefinitions({ snapshot: () => registry.current(), engine });
  const evaluate = createEvaluateAsOf({ history });
  const maxPosition = (source: string) => viewHistory.maxPosition(source);
  const service = computeService({
    status: createStatus({ ...compute, metrics, streamPosition: async () => (await events.bounds()).last }),
    view: definitions.view,
    evaluate,
    verify: createVerifySamples({ evaluate, maxPosition, clock, telemetry, metrics, waitMs: config.verifyWaitMs }),
    buildTrainingSet: createBuildTrainingSet({ ...definitions, history, telemetry }),
  });
  const grpc = await life.start('grpc', () =>
    serveGrpc({ address: config.grpcAddress, services: [service], telemetry }),
  );
  const http = await life.start('http', () =>
    serveHttp(config.httpAddress, { telemetry, ready: () => !life.signal.aborted }),
  );
  return { grpc: grpc.address, http: http.address };
});
