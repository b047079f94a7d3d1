import type { definitions } from '@millrace/contracts';
import { ensureStreams, openNats } from '@millrace/events';
import { openHistory } from '@millrace/history';
import { MeshError } from '@millrace/kernel';
import { type Registered, watchRegistry } from '@millrace/registry';
import { type ReadyInfo, type RunContext, run } from '@millrace/runtime';
import { driftDefaults } from '@millrace/stats';
import { modelFilesOf } from './adapters/disk-models.ts';
import { createExplainer } from './adapters/explain-host.ts';
import { createExposureReader, exposureTable } from './adapters/exposure-history.ts';
import { connectFeatures } from './adapters/feature-client.ts';
import { readGolden } from './adapters/golden-file.ts';
import { landStream } from './adapters/land-stream.ts';
import { limitMemory, memoryBytesMaxHere } from './adapters/memory-limit.ts';
import { createModelAlerts } from './adapters/nats-alerts.ts';
import { openAliasStore } from './adapters/nats-aliases.ts';
import { createExposureLog } from './adapters/nats-exposures.ts';
import { createPredictionLog } from './adapters/nats-predictions.ts';
import { openRolloutStore } from './adapters/nats-rollouts.ts';
import { predictionTable } from './adapters/prediction-history.ts';
import { saturatesHere } from './adapters/processor.ts';
import { readProfile } from './adapters/profile-file.ts';
import { openRuntimes } from './adapters/runtimes.ts';
import { configuredLoader } from './app/configured-model.ts';
import { joinBooks } from './app/disk-book.ts';
import { createDriftMonitor, registerDriftMetrics } from './app/drift-monitor.ts';
import { createExplain } from './app/explain.ts';
import { createExplainRoute } from './app/explain-route.ts';
import { createExplainRows } from './app/explain-rows.ts';
import { createExposureReport } from './app/exposure-report.ts';
import { followRegistry } from './app/follow-registry.ts';
import { createFusedReads } from './app/fused-reads.ts';
import { createInfer } from './app/infer.ts';
import { createInferenceMetrics } from './app/inference-metrics.ts';
import { createVersionLoader } from './app/load-version.ts';
import { createModelBook, type ModelBook } from './app/model-book.ts';
import { createOipServer } from './app/oip-server.ts';
import { createOutcomeBook } from './app/outcomes.ts';
import { createPredict, type PredictDeps } from './app/predict.ts';
import { createRecentRequests } from './app/recent-requests.ts';
import { createRepository, joinRepositories, knownModels } from './app/repository.ts';
import { type CacheUse, createResponseCache } from './app/response-cache.ts';
import { createRouteInfer } from './app/route-infer.ts';
import { createServeInfer } from './app/serve-infer.ts';
import { createShadowPredictions } from './app/shadow-predictions.ts';
import { createShadowQueue, shadowLimits } from './app/shadow-queue.ts';
import { createVersionMeters } from './app/version-meters.ts';
import { registerVersionMetrics } from './app/version-metrics.ts';
import { type InferenceConfig, loadConfig } from './config.ts';
import { followOutcomes } from './consumers/follow-outcomes.ts';
import { openRepository } from './open-repository.ts';
import { openTraffic } from './open-traffic.ts';
import { aliasService } from './rpc/alias-service.ts';
import { deploymentService } from './rpc/deployment-service.ts';
import { oipService } from './rpc/oip-service.ts';
import { predictionService } from './rpc/prediction-service.ts';
import { rolloutService } from './rpc/rollout-service.ts';
import { openServers } from './servers.ts';

/** How long a model that could not be loaded waits for the next try. */
const loadRetryMs = 5_000;
/** How long the explaining worker may take to stop what nobody waits for. */
const explainStopMs = 2_000;
/** How often alerts of drift are raised and resolved. */
const driftTickMs = 1_000;
/** Models whose latest requests are kept for warming up, at most 1 MiB of each. */
const recentModelsMax = 64;

type Context = RunContext<InferenceConfig>;

await run('model-inference', loadConfig, (context) =>
  context.config.mesh ? serveMesh(context, context.config.mesh) : serveAlone(context),
);

/** The registry's models, with features, rollouts and outcomes; and those of a model repository beside them. */
async function serveMesh(context: Context, mesh: NonNullable<InferenceConfig['mesh']>): Promise<ReadyInfo> {
  const { config, life, clock, telemetry } = context;
  const { signal } = life;
  const nats = await life.start('nats', () => openNats(mesh.natsUrl, { name: 'model-inference' }));
  await ensureStreams(nats);
  const registry = await life.start('registry', () => watchRegistry(nats, { signal, telemetry }));
  const features = await life.start('online-serving', async () =>
    connectFeatures(mesh.onlineServingAddress, telemetry),
  );
  const { metrics, meters, load, cache, explain, nowMs } = await openRuntime(context);
  const responseCacheMs = (name: string) =>
    Number(registry.current().models.get(name)?.spec.responseCacheTtlUs ?? 0n) / 1000;
  const loadVersion = createVersionLoader({
    load,
    readGolden: (model, file) => readGolden(config.modelDir, model, file),
    recent: createRecentRequests({ modelsMax: recentModelsMax }),
  });
  const unloaded = new Set<string>();
  const isKnown = (name: string, version: string) =>
    unloaded.has(name) || (version === '' && registry.current().models.has(name));
  const aliasStore = await openAliasStore(nats, signal);
  const registered = createModelBook({
    isKnown,
    aliased: (name, alias) => aliases.find(name, alias)?.versions.slice(-2).reverse(),
    aliasesOf: (name) => Object.keys(aliasStore.records().get(name)?.aliases ?? {}),
    load: async (request) => cache.wrap(await loadVersion(request), request, () => responseCacheMs(request.name)),
    onChange(model) {
      metrics.modelChanged(model);
      if (model.state.t === 'ready') meters.open(model.name, model.version);
      void drift.follow();
    },
    onUnload(model) {
      metrics.modelUnloaded(model);
      meters.forget(model.name, model.version);
      void drift.follow();
    },
  });
  const deploymentOf = (name: string) => registry.current().deployments.get(name);
  const disk = openRepository(
    context,
    modelFilesOf(context.config),
    { metrics, meters, load, cache },
    {
      names: () => [...registry.current().models.keys()],
      taken: (name) =>
        registry.current().models.has(name) || registered.versions(name).length > 0
          ? 'the registry has a model of this name'
          : deploymentOf(name) && 'the registry has a deployment of this name',
    },
  );
  const book = disk ? joinBooks(registered, disk.book, isKnown) : registered;
  registerVersionMetrics(telemetry.metrics, meters, book);
  const raiseAlert = createModelAlerts(nats, () => clock.nowUs());
  const { driftWindowRows: windowRows, driftWindowMs: windowMs, driftRowsMin: rowsMin } = config;
  const drift = createDriftMonitor({
    book,
    spec({ name, version, spec }) {
      const current = registry.current().models.get(name);
      return current?.version === version ? current.spec : spec;
    },
    read: (model, file) => readProfile(config.modelDir, model, file),
    raise: raiseAlert,
    options: { ...driftDefaults, windowRows, windowMs, rowsMin },
    nowUs: () => clock.nowUs(),
    onProblem: (model, version, error) =>
      telemetry.log.warn({ event: 'drift_not_watched', model, version, error: String(error) }),
  });
  registerDriftMetrics(telemetry.metrics, drift, book);
  const driftTicks = setInterval(() => void drift.tick(), driftTickMs);
  life.onStop('drift', () => clearInterval(driftTicks));
  life.onStop('models', () => book.close());
  const exposureLog = createExposureLog(nats);
  const traffic = await openTraffic(context, {
    book,
    snapshot: registry.current,
    metrics,
    aliasStore,
    rolloutStore: await openRolloutStore(nats, signal),
    publishExposures: exposureLog.publish,
    raise: raiseAlert,
    follow: () => follow(),
  });
  const { aliases, rollouts, exposures } = traffic;
  const shadows = createShadowQueue(shadowLimits);
  const runModel = createInfer({ book, nowMs });
  const infer = createServeInfer({
    book,
    infer: runModel,
    explain,
    route: createRouteInfer({
      book,
      deployment: (name) => deploymentOf(name)?.spec,
      rollout: rollouts.route,
      expose: exposures.expose,
      infer: runModel,
      queue: shadows,
    }),
    isRouted: (name, version) => version === '' && deploymentOf(name) !== undefined,
    onRefused: metrics.refused,
    meters,
  });
  const follow = followRegistry({
    book,
    snapshot: registry.current,
    version: async (name, version) =>
      (await registry.get('model', name, version)) as Registered<definitions.Model> | undefined,
    isUnloaded: (name) => unloaded.has(name),
    candidates: traffic.wanted,
    onProblem: (model, error) => telemetry.log.warn({ event: 'model_version_unreadable', model, error: String(error) }),
  });
  await follow();
  registry.onChange(() => void follow().then(drift.follow));
  aliasStore.onChange(() => void follow());
  const retries = setInterval(() => void follow().then(drift.follow), loadRetryMs);
  life.onStop('load retries', () => clearInterval(retries));
  traffic.start();

  const log = createPredictionLog(nats, { telemetry });
  const outcomes = createOutcomeBook({ pendingMax: config.pendingOutcomesMax, onJudged: rollouts.judged });
  void followOutcomes({
    link: nats,
    book: outcomes,
    predictions: log.read,
    snapshot: registry.current,
    dataDir: config.dataDir,
    telemetry,
    signal,
  }).catch((error) => life.fail(error));
  const openStore = () => openHistory({ url: mesh.clickhouseUrl, telemetry });
  void landStream({ table: predictionTable, open: openStore, read: log.read, telemetry, signal });
  void landStream({ table: exposureTable, open: openStore, read: exposureLog.read, telemetry, signal });
  const exposureReader = await life.start('exposure reader', async () => createExposureReader(openStore));

  const served: Omit<PredictDeps, 'keep' | 'onPredictions' | 'onFailed' | 'watch' | 'expose'> = {
    book,
    deployment: (name) => deploymentOf(name)?.spec,
    rollout: rollouts.route,
    deployments: () => [...registry.current().deployments.keys()],
    featureService: (name) => registry.current().services.get(name)?.spec,
    readFeatures: createFusedReads({
      read: features.read,
      nowMs: () => clock.nowUs() / 1000,
      queueMax: config.queueMax,
      timeoutMs: config.featuresTimeoutMs,
      onRead: metrics.featuresRead,
    }),
    shadow: createShadowPredictions({
      book,
      queue: shadows,
      featureService: (name) => registry.current().services.get(name)?.spec,
    }),
    nowUs: () => clock.nowUs(),
    limits: config,
  };
  const predict = createPredict({
    ...served,
    expose: exposures.expose,
    keep: log.keep,
    watch: drift.predicted,
    onPredictions({ name, version }, rows, ms) {
      metrics.predicted(name, rows);
      meters.of(name, version).succeeded('predict', ms);
    },
    onFailed: ({ name, version }, thrown) => meters.of(name, version).failed(thrown),
  });
  const own = createRepository({
    book: registered,
    unloaded,
    known: () => knownModels(registry.current(), registered),
    follow,
  });
  const repository = disk ? joinRepositories(own, disk.repository, (name) => disk.taken(name) === undefined) : own;
  registry.onChange(() => void disk?.repository.follow());
  await disk?.start();
  const oip = createOipServer({
    book,
    repository,
    infer,
    meters,
    isKnown: (name, version) => isKnown(name, version) || disk?.repository.isUnloaded(name) === true,
    deployment: (name) => deploymentOf(name)?.spec,
  });
  const services = [
    predictionService({
      predict,
      explain: createExplainRows({ ...served, explain }),
      outcomes,
      drift,
      snapshot: registry.current,
    }),
    rolloutService(rollouts),
    aliasService(aliases),
    deploymentService({
      explainRoute: createExplainRoute(served),
      exposures: createExposureReport({
        read: exposureReader.read,
        current: deploymentOf,
        version: async (name, version) =>
          (await registry.get('deployment', name, version)) as Registered<definitions.Deployment> | undefined,
      }),
    }),
    oipService(oip),
  ];
  return openServers(context, { oip, book, services, drift });
}

/** The models of a model repository and nothing else. */
async function serveAlone(context: Context): Promise<ReadyInfo> {
  const { metrics, meters, load, cache, explain, nowMs } = await openRuntime(context);
  const disk = openRepository(
    context,
    modelFilesOf(context.config),
    { metrics, meters, load, cache },
    {
      names: () => [],
      taken: () => undefined,
    },
  );
  if (!disk) throw new MeshError('INVALID_CONFIG', 'environment: MILLRACE_MODEL_REPOSITORY: name a folder', {});
  const book: ModelBook = { ...disk.book, want: () => undefined };
  registerVersionMetrics(context.telemetry.metrics, meters, book);
  context.life.onStop('models', () => book.close());
  const runModel = createInfer({ book, nowMs });
  const none = () => undefined;
  const infer = createServeInfer({
    book,
    infer: runModel,
    explain,
    route: createRouteInfer({
      book,
      deployment: none,
      rollout: none,
      expose: none,
      infer: runModel,
      queue: createShadowQueue(shadowLimits),
    }),
    isRouted: () => false,
    onRefused: metrics.refused,
    meters,
  });
  await disk.start();
  const oip = createOipServer({
    book,
    repository: disk.repository,
    infer,
    meters,
    isKnown: disk.repository.isUnloaded,
    deployment: none,
  });
  return openServers(context, { oip, book, services: [oipService(oip)], drift: undefined });
}

/** What runs models, however they are found. */
async function openRuntime({ config, life, clock, telemetry }: Context) {
  limitMemory(config.memoryBytesMax ?? memoryBytesMaxHere(), telemetry.log);
  const metrics = createInferenceMetrics(telemetry, saturatesHere());
  const nowMs = () => clock.nowUs() / 1000;
  const meters = createVersionMeters(nowMs);
  const cacheUsed = (model: string, version: string, use: CacheUse, lookedMs: number) => {
    metrics.cacheUsed(model, use);
    meters.of(model, version).cacheUsed(use, lookedMs);
  };
  const loadModel = await openRuntimes(life, {
    ...config,
    nowMs,
    onEvent: (event) => telemetry.log.warn(event),
    onSaid: (event) => telemetry.log.info(event),
    onSessions: metrics.sessionsOpen,
    onBatch: (model, version, batch) => meters.of(model, version).ran(batch),
  });
  const explainer = await life.start('explainer', async () =>
    createExplainer({ modelDir: config.modelDir, queueMax: config.explainQueueMax, stopMs: explainStopMs }),
  );
  return {
    metrics,
    meters,
    nowMs,
    load: configuredLoader(loadModel),
    cache: createResponseCache({ bytesMax: config.cacheBytesMax, onUse: cacheUsed }),
    explain: createExplain({ explainer, nowMs, limits: config }),
  };
}
