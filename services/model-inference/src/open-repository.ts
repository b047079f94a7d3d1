import type { RunContext } from '@millrace/runtime';
import { createDiskBook } from './app/disk-book.ts';
import { createDiskRepository, type ModelFiles } from './app/disk-repository.ts';
import type { createInferenceMetrics } from './app/inference-metrics.ts';
import type { ModelLoader } from './app/model-book.ts';
import type { ResponseCache } from './app/response-cache.ts';
import type { VersionMeters } from './app/version-meters.ts';
import type { InferenceConfig } from './config.ts';

interface RepositoryParts {
  readonly metrics: ReturnType<typeof createInferenceMetrics>;
  readonly meters: VersionMeters;
  readonly load: ModelLoader;
  readonly cache: ResponseCache;
}

/** The folder of MILLRACE_MODEL_REPOSITORY, looked at every so often; undefined when there is none. */
export function openRepository(
  { config, life, telemetry }: RunContext<InferenceConfig>,
  files: ModelFiles | undefined,
  { metrics, meters, load, cache }: RepositoryParts,
  others: {
    names(): readonly string[];
    taken(name: string): string | undefined;
  },
) {
  const { repositoryDir: dir = '', workers } = config;
  if (!files) return undefined;
  const book = createDiskBook({
    load: async (request) => {
      const ttlMs = request.plan?.isCached ? Number.MAX_SAFE_INTEGER : 0;
      return cache.wrap(await load(request), request, () => ttlMs);
    },
    others: others.names,
    onChange(model) {
      metrics.modelChanged(model);
      const { name, version, spec } = model;
      if (model.state.t !== 'ready') return;
      meters.open(name, version);
      telemetry.log.info({ event: 'repository_model_served', model: name, version, sha256: spec.sha256 });
    },
    onKept: ({ name, version, spec }, { reason, message }) =>
      telemetry.log.error({
        event: 'repository_model_kept',
        model: name,
        version,
        sha256: spec.sha256,
        reason,
        message,
      }),
    onUnload(model, isReplaced) {
      // its successor has the same name and version, and is served
      if (isReplaced) return;
      metrics.modelUnloaded(model);
      meters.forget(model.name, model.version);
    },
  });
  const repository = createDiskRepository({
    book,
    files,
    workers,
    taken: others.taken,
    onProblem: (model, problem) =>
      telemetry.log.error({
        event: 'repository_problem',
        dir,
        model,
        reason: problem.reason,
        message: problem.message,
      }),
  });
  return {
    book,
    repository,
    taken: others.taken,
    async start() {
      await repository.follow();
      const looks = setInterval(() => void repository.follow(), config.repositoryPollMs);
      life.onStop('model repository', () => clearInterval(looks));
    },
  };
}
