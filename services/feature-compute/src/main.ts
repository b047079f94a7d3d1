import { join } from 'node:path';
import { ensureStreams, openNats } from '@millrace/events';
import { openHistory } from '@millrace/history';
import { createRowWriter, openRedis, rowField } from '@millrace/hot';
import { openViewStateTeller, watchRegistry } from '@millrace/registry';
import { serveGrpc } from '@millrace/rpc';
import { run, serveHttp } from '@millrace/runtime';
import { createFeatureResultBook } from './adapters/clickhouse-feature-results.ts';
import { checkRows, createFeatureTables, featureTable } from './adapters/clickhouse-feature-tables.ts';
import { createMismatchBook } from './adapters/clickhouse-mismatches.ts';
import { createTrainingSetBook } from './adapters/clickhouse-training-sets.ts';
import { createVectorStore } from './adapters/clickhouse-vectors.ts';
import { createViewHistory } from './adapters/clickhouse-view-history.ts';
import { countBuffersInHeapLimit } from './adapters/collector.ts';
import { openLmdbStateStore } from './adapters/lmdb-state-store.ts';
import { openMaterializationFiles } from './adapters/materialization-files.ts';
import { createAlertPublisher, createFeatureAlertPublisher } from './adapters/nats-alerts.ts';
import { createEventLog } from './adapters/nats-events.ts';
import { tellingChanges } from './adapters/nats-row-changes.ts';
import { redisDropRows, redisIdentity } from './adapters/redis-rows.ts';
import { createEvaluateAsOf } from './app/as-of.ts';
import { createCompareSamples } from './app/compare-samples.ts';
import { openCompute } from './app/compute.ts';
import { createComputeMetrics } from './app/compute-metrics.ts';
import { createDefinitions } from './app/definitions.ts';
import { withDerived } from './app/derived-as-of.ts';
import { createFeatureJudge } from './app/expectations/feature-judge.ts';
import { createCheckTable } from './app/expectations/table-checks.ts';
import { createVersionGate } from './app/expectations/version-gate.ts';
import { createViewChecks } from './app/expectations/view-checks.ts';
import { createMaterializer } from './app/materialize/materialize.ts';
import { createMismatchAlerts } from './app/mismatch-alerts.ts';
import { createReportMismatches } from './app/report-mismatches.ts';
import { createSettled } from './app/settled.ts';
import { createStatus } from './app/status.ts';
import { createUploadLabels } from './app/training/label-store.ts';
import { createBuildTrainingSet } from './app/training/training-set.ts';
import { createVectorIndexer } from './app/vector-index.ts';
import { createVerifier } from './app/verifier.ts';
import { createVerifySamples } from './app/verify.ts';
import { wantedViews } from './app/wanted-views.ts';
import { loadConfig } from './config.ts';
import { followServedRows } from './consumers/served-rows.ts';
import { computeService } from './rpc/compute-service.ts';
import { featureQualityService } from './rpc/feature-quality-service.ts';
import { materializeService } from './rpc/materialize-service.ts';

await run('feature-compute', loadConfig, async ({ config, life, clock, telemetry }) => {
  countBuffersInHeapLimit();
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
  const checksOf = createViewChecks(() => registry.current());
  const results = createFeatureResultBook(history);
  const judge = createFeatureJudge({
    checksOf,
    ready: () =>
      [...compute.engine.views.values()].flatMap(({ record }) => (record.phase === 'ready' ? [record.definition] : [])),
    book: results,
    alert: createFeatureAlertPublisher(nats),
    clock,
    telemetry,
  });
  const compute = await openCompute({
    store,
    events,
    writer: config.tellChanges ? tellingChanges(writer, nats) : writer,
    field: rowField,
    hot: redisIdentity(hot, writer),
    history: viewHistory,
    dropRows: redisDropRows(hot),
    tell: await openViewStateTeller(nats, { signal: life.signal }),
    see: judge.see,
    gate: createVersionGate({ checksOf, store, judge, clock }),
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

  await life.start('feature expectations', async (signal) => {
    void judge.run(signal).catch((cause) => life.fail(cause));
  });

  const checkTable = createCheckTable({ history, checksOf });
  const definitions = createDefinitions({ snapshot: () => registry.current(), engine });
  const evaluate = createEvaluateAsOf({ history });
  const maxPosition = (source: string) => viewHistory.maxPosition(source);
  const mismatches = createMismatchBook(history);
  const report = createReportMismatches({ book: mismatches, clock, telemetry, metrics });
  const compare = createCompareSamples({ evaluate });
  const alert = createMismatchAlerts({ publish: createAlertPublisher(nats), clock, telemetry });
  const { samplesWaitingMax } = config;
  const verifier = createVerifier({
    compare,
    settled: createSettled({ history }),
    report,
    alert,
    maxPosition,
    clock,
    telemetry,
    metrics,
    samplesWaitingMax,
  });
  await life.start('verifier', async (signal) => {
    void verifier.run(signal).catch((cause) => life.fail(cause));
    const followed = { link: nats, verifier, view: definitions.view, telemetry, signal };
    void followServedRows(followed).catch((cause) => life.fail(cause));
  });
  const book = createTrainingSetBook(history);
  const service = computeService({
    status: createStatus({ ...compute, metrics, verifier, streamPosition: async () => (await events.bounds()).last }),
    view: definitions.view,
    evaluate: withDerived(evaluate),
    verify: createVerifySamples({ compare, report, maxPosition, clock, waitMs: config.verifyWaitMs }),
    mismatches,
    verifier,
    buildTrainingSet: createBuildTrainingSet({ ...definitions, history, book, check: checkTable, clock }),
    uploadLabels: createUploadLabels({ history, dir: join(config.dataDir, 'uploads') }),
    trainingSets: book,
  });
  const materializer = createMaterializer({
    book: openMaterializationFiles(join(config.dataDir, 'materializations')),
    tables: createFeatureTables(history),
    check: checkRows(checkTable),
    view: definitions.view,
    clock,
    telemetry,
  });
  await life.start('materializer', async (signal) => {
    void materializer.run(signal).catch((cause) => life.fail(cause));
  });
  const vectors = createVectorIndexer({
    views: () => [...engine.views.values()].map(({ record }) => record.definition),
    store: createVectorStore(history),
    intervalMs: config.vectorIntervalMs,
    telemetry,
  });
  await life.start('vectors', async (signal) => {
    void vectors.run(AbortSignal.any([signal, life.signal])).catch((cause) => life.fail(cause));
  });
  const services = [
    service,
    materializeService({ materializer, tableOf: featureTable }),
    featureQualityService(results, definitions.expected),
  ];
  const grpc = await life.start('grpc', () => serveGrpc({ address: config.grpcAddress, services, telemetry }));
  const http = await life.start('http', () =>
    serveHttp(config.httpAddress, { telemetry, ready: () => !life.signal.aborted }),
  );
  return { grpc: grpc.address, http: http.address };
});
