import { join } from 'node:path';
import type { definitions } from '@millrace/contracts';
import { ensureStreams, openNats } from '@millrace/events';
import { openHistory } from '@millrace/history';
import { watchRegistry } from '@millrace/registry';
import { serveGrpc } from '@millrace/rpc';
import { run, serveHttp } from '@millrace/runtime';
import { createClickHouseHistory } from './adapters/clickhouse-history.ts';
import { createClickHouseQueries } from './adapters/clickhouse-queries.ts';
import { createResultBook } from './adapters/clickhouse-results.ts';
import { createHistoryPast } from './adapters/history-past.ts';
import { openBlockStore } from './adapters/kv-block-store.ts';
import { openFittedStore } from './adapters/kv-fitted-store.ts';
import { openLmdbIdIndex } from './adapters/lmdb-id-index.ts';
import { openLoadInputs } from './adapters/load-inputs.ts';
import { createAuditTrail } from './adapters/nats-audit.ts';
import { createNatsEventLog } from './adapters/nats-event-log.ts';
import { createExpectationAlerts } from './adapters/nats-expectation-alerts.ts';
import { openNatsLoadStore } from './adapters/nats-load-store.ts';
import { createNatsQuarantine } from './adapters/nats-quarantine.ts';
import { openUploads } from './adapters/uploads.ts';
import { createAcceptBatch } from './app/accept-batch.ts';
import { createCheckEvents } from './app/check-events.ts';
import { createExpectationJudge } from './app/expectation-judge.ts';
import { openFittedStates } from './app/fitted-states.ts';
import { createHistoryWriter } from './app/history-writer.ts';
import { catchUp, IdBook } from './app/id-book.ts';
import { createIngestionMetrics } from './app/ingestion-metrics.ts';
import { createIntakes } from './app/intakes.ts';
import { createJudge } from './app/judge.ts';
import { openLoadDesk } from './app/load-desk.ts';
import { createLoadSchedule } from './app/load-schedule.ts';
import { createProgress } from './app/progress.ts';
import { createQuarantineDesk } from './app/quarantine-desk.ts';
import { createSourceBlocks } from './app/source-blocks.ts';
import { loadConfig } from './config.ts';
import { consumeIngest } from './consumers/ingest-consumer.ts';
import { RowTally } from './domain/row-tally.ts';
import { ingestionService } from './rpc/ingestion-service.ts';
import { loadService } from './rpc/load-service.ts';

await run('ingestion', loadConfig, async ({ config, life, clock, telemetry }) => {
  const metrics = createIngestionMetrics(telemetry.metrics);
  const nats = await life.start('nats', () => openNats(config.natsUrl, { name: 'ingestion' }));
  await ensureStreams(nats);
  const registry = await life.start('registry', (signal) => watchRegistry(nats, { signal, telemetry }));

  // Not the process's own signal: what is in flight is finished before the event log closes.
  const writing = new AbortController();
  life.onStop('event-log', () => writing.abort());
  const wire = { signal: writing.signal, maxInFlight: config.batchesInFlightMax * 4 };
  const log = createNatsEventLog(nats, wire);
  const quarantine = createNatsQuarantine(nats, wire);

  const index = await life.start('id-index', async () =>
    openLmdbIdIndex({
      path: join(config.dataDir, 'ids'),
      mapBytesMax: config.indexBytesMax,
      idsPerGeneration: config.idsPerGeneration,
    }),
  );
  telemetry.log.info({ event: 'ids_caught_up', ...(await catchUp(index, log)) });
  const ids = new IdBook(index);
  /** A loop that runs until its turn to stop comes. */
  const background = async (name: string, work: (signal: AbortSignal) => Promise<void>) => {
    const stop = new AbortController();
    const done = work(stop.signal).catch((cause) => life.fail(cause));
    life.onStop(name, () => {
      stop.abort();
      return done;
    });
  };
  await background('id-recorder', (signal) => ids.run(signal));

  const history = await life.start('clickhouse', () => openHistory({ url: config.clickhouseUrl, telemetry }));
  const writer = createHistoryWriter({
    store: createClickHouseHistory(history),
    read: log.follow,
    telemetry,
    metrics,
    signal: life.signal,
    limits: config,
  });
  writer.want([...registry.current().sources.values()]);
  registry.onChange((next) => writer.want([...next.sources.values()]));
  await background('history', async (signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    await writer.stopped();
  });

  const past = createHistoryPast(history, log);
  const fitted = await openFittedStates({
    store: await openFittedStore(nats),
    statistics: past.statistics,
    sources: () => registry.current().sources.values(),
    nowUs: () => clock.nowUs(),
    telemetry,
    refitIntervalMs: config.refitIntervalMs,
  });
  await background('fitting', (signal) => fitted.run(signal));
  const intakes = createIntakes({
    definitions: registry,
    earlier: async (name, version) =>
      (await registry.get('source', name, version))?.spec as definitions.Source | undefined,
    past,
    fitted,
    limits: config,
  });

  const tally = new RowTally();
  const audit = createAuditTrail(nats);
  const blocks = createSourceBlocks({
    store: await life.start('blocks', () => openBlockStore(nats, { signal: life.signal })),
    sources: () => registry.current().sources,
    clock,
    telemetry,
    audit,
    gauge: metrics.sourceBlocked,
  });
  const accept = createAcceptBatch({
    intakes,
    ids,
    log,
    quarantine,
    clock,
    telemetry,
    metrics,
    tally,
    blocks,
    limits: config,
  });
  const results = createResultBook(history);
  const expectations = createExpectationJudge({
    book: results,
    tally,
    sources: () => registry.current().sources.values(),
    caughtUp: (source) => (writer.progress(source)?.position ?? -1) >= ids.tally(source).lastPosition,
    blocks,
    alert: createExpectationAlerts(nats),
    clock,
    telemetry,
  });
  expectations.notice(registry.current().sources.values());
  registry.onChange((next) => expectations.notice(next.sources.values()));
  await background('expectations', (signal) => expectations.run(signal));
  await background('ingest', (signal) =>
    consumeIngest({
      link: nats,
      signal,
      maxAckPending: config.natsAckPendingMax,
      accept,
      definitions: registry,
      quarantine,
      clock,
      metrics,
    }),
  );
  const uploads = await openUploads(join(config.dataDir, 'uploads'), config.loadBytesMax);
  const loadStore = await openNatsLoadStore(nats);
  const inputs = await openLoadInputs({
    folders: config.loadFolders,
    spoolDir: join(config.dataDir, 'spool'),
    uploadDir: join(config.dataDir, 'uploads'),
    bytesMax: config.loadBytesMax,
    s3: config.s3,
  });
  const desk = await openLoadDesk({
    accept,
    quarantine,
    metrics,
    clock,
    telemetry,
    blocks,
    inputs,
    queries: createClickHouseQueries(history),
    store: loadStore,
    definitions: registry,
    uploads,
    limits: config,
  });
  await background('loads', (signal) => desk.run(signal));
  const schedule = createLoadSchedule({ desk, clock, telemetry });
  schedule.follow(registry.current());
  registry.onChange((next) => schedule.follow(next));
  life.onStop('schedule', () => schedule.stop());
  const sampling = setInterval(() => metrics.sample(ids.waiting), 1_000);
  life.onStop('sampling', () => clearInterval(sampling));

  const judge = createJudge({ intakes, ids, blocks, clock });
  const service = ingestionService({
    accept,
    desk: createQuarantineDesk({ shelf: quarantine, accept, judge, intakes, audit, clock }),
    definitions: registry,
    results,
    blocks,
    fitted,
    progress: createProgress({ definitions: registry, ids, history: writer, metrics }),
    streamInFlightMax: config.streamInFlightMax,
  });
  const loading = loadService({
    desk,
    store: loadStore,
    check: createCheckEvents(judge),
    uploads,
  });
  const limits = { maxMessageBytes: 32 * 2 ** 20 };
  const grpc = await life.start('grpc', () =>
    serveGrpc({ address: config.grpcAddress, services: [service, loading], telemetry, limits }),
  );
  const http = await life.start('http', () =>
    serveHttp(config.httpAddress, { telemetry, ready: () => !life.signal.aborted }),
  );
  return { grpc: grpc.address, http: http.address };
});
