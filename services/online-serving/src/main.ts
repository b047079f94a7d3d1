import { openNats } from '@millrace/events';
import { openHistory } from '@millrace/history';
import { watchRegistry, watchViewStates } from '@millrace/registry';
import { serveGrpc } from '@millrace/rpc';
import { type RunContext, run } from '@millrace/runtime';
import { createCandidateStore } from './adapters/clickhouse-candidates.ts';
import { createUsageBook } from './adapters/clickhouse-usage.ts';
import { createFeastCatalog } from './adapters/feast-catalog.ts';
import { createHistoryReader } from './adapters/history-reader.ts';
import { createIngestionPublisher } from './adapters/ingestion-publisher.ts';
import { createLazyHistory } from './adapters/lazy-history.ts';
import { createServedPublisher } from './adapters/nats-served.ts';
import { openRedisRows } from './adapters/redis-rows.ts';
import { createRegistryCatalog, featuresOf } from './adapters/registry-catalog.ts';
import { createAdmission } from './app/admission.ts';
import { admissionTelemetry, measured, nearTelemetry, openStreams } from './app/metrics.ts';
import { createNearRows } from './app/near-rows.ts';
import { createPlanBook } from './app/plan-book.ts';
import { createReadFeatures } from './app/read-features.ts';
import { createSearchFeatures } from './app/search-features.ts';
import { sampled } from './app/served-sampler.ts';
import { createUsage } from './app/usage.ts';
import { type Config, loadConfig } from './config.ts';
import { followRowChanges } from './consumers/row-changes.ts';
import { createFeastSurface } from './feast/surface.ts';
import { createRest } from './http/rest.ts';
import { searchRoutes } from './http/search-routes.ts';
import { featureService } from './rpc/feature-service.ts';
import { searchService } from './rpc/search-service.ts';

await run('online-serving', loadConfig, open, { processes: (config) => config.processes });

async function open({ config, life, clock, telemetry }: RunContext<Config>) {
  const { log, metrics } = telemetry;
  const rows = await life.start('redis', () => openRedisRows({ url: config.redisUrl, log, metrics }));
  const history = createLazyHistory(() => openHistory({ url: config.clickhouseUrl, telemetry }));
  life.onStop('history', () => history.close());
  const nats = await life.start('nats', () => openNats(config.natsUrl, { name: 'online-serving' }));
  const registry = await life.start('registry', (signal) => watchRegistry(nats, { signal, telemetry }));

  const states = await watchViewStates(nats, { signal: life.signal });
  const plans = createPlanBook({
    catalog: createRegistryCatalog({ registry, states }),
    onWait: (service, version, { name, version: viewVersion }) =>
      log.info({ event: 'plan_waits', service, version, view: `${name}@${viewVersion}` }),
    onProblem: (service, { reason, message }) => log.error({ event: 'plan_failed', service, reason, message }),
  });
  await plans.refresh();
  life.onStop(
    'plans',
    registry.onChange(() => void plans.refresh()),
  );

  const near = createNearRows(rows, { ...config.near, nowMs: () => performance.now(), ...nearTelemetry(telemetry) });
  const keeps = config.near.ttlMs > 0;
  if (keeps) await life.start('row-changes', async () => followRowChanges({ link: nats, near, log }));
  life.onStop(
    'switches',
    states.onChange(() => void plans.refresh()),
  );

  const admission = createAdmission(config.admission, admissionTelemetry(telemetry));
  const reads = createReadFeatures({
    plans,
    rows: keeps || config.coalesce ? near : rows,
    history: createHistoryReader(history.opened),
    clock,
    limits: config.limits,
    admission,
    onHistoryProblem: ({ reason, message }) => log.warn({ event: 'history_read_failed', reason, message }),
  });
  const usage = createUsage({
    book: createUsageBook(history.opened),
    features: () => featuresOf(registry.current()),
    nowMs: () => Date.now(),
    onProblem: ({ reason, message }) => log.warn({ event: 'usage_not_kept', reason, message }),
  });
  const flushing = setInterval(() => void usage.flush(), config.usageIntervalMs);
  life.onStop('usage', async () => {
    clearInterval(flushing);
    if (history.isOpen()) await usage.flush();
  });
  const full = (caller: string, rows: number) => admission.full(caller, rows, clock.nowUs() / 1000);
  const counted = measured({ readFeatures: reads, full }, telemetry);
  const readFeatures = sampled(usage.counted(counted.readFeatures), {
    rowsPerSecond: config.parityRowsPerSecond,
    publish: createServedPublisher(nats),
    clock,
    metrics,
  });
  const ready = () => !life.signal.aborted;
  const publisher = createIngestionPublisher({ address: config.ingestionAddress, telemetry });
  life.onStop('ingestion', () => publisher.close());
  const catalog = createFeastCatalog({ registry });
  const { rowsMax } = config.limits;
  const feast = createFeastSurface({
    plans,
    catalog,
    publisher,
    readFeatures,
    full: counted.full,
    rowsMax,
    telemetry,
    ready,
  });
  life.onStop('feast', registry.onChange(feast.forget));

  const features = featureService({
    readFeatures,
    full: counted.full,
    streamInFlightMax: config.streamInFlightMax,
    onStream: openStreams(telemetry),
  });
  const searchFeatures = createSearchFeatures({
    plans,
    readFeatures,
    readCandidates: reads,
    store: createCandidateStore(history.opened),
    clock,
    rowsMax,
    candidatesMax: config.searchCandidatesMax,
  });
  const services = [features, searchService(searchFeatures), ...feast.services];
  const grpc = await life.start('grpc', () => serveGrpc({ address: config.grpcAddress, services, telemetry }));
  const rest = createRest({ plans, readFeatures, usage, telemetry, ready });
  rest.register(feast.routes);
  rest.register(searchRoutes(searchFeatures));
  const http = await life.start('http', async () => {
    const { hostname: host, port } = new URL(`http://${config.httpAddress}`);
    const url = await rest.listen({ host, port: Number(port) });
    return { address: new URL(url).host, close: () => rest.close() };
  });
  return { grpc: grpc.address, http: http.address };
}
