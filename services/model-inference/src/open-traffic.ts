import type { RegistrySnapshot } from '@millrace/registry';
import type { RunContext } from '@millrace/runtime';
import { type AliasStore, createAliases } from './app/aliases.ts';
import { createExposures, type PublishExposures } from './app/exposures.ts';
import type { createInferenceMetrics } from './app/inference-metrics.ts';
import type { ModelBook } from './app/model-book.ts';
import { createPreparation } from './app/prepare-version.ts';
import type { RaiseAlert } from './app/raise-alert.ts';
import type { RolloutStore } from './app/rollout-record.ts';
import { type Candidate, createRollouts } from './app/rollouts.ts';
import type { InferenceConfig } from './config.ts';

/** How often exposures are sent to their log. */
const exposureFlushMs = 250;
/** How often rollouts decide. */
const rolloutTickMs = 250;

interface TrafficParts {
  readonly book: ModelBook;
  readonly snapshot: () => RegistrySnapshot;
  readonly metrics: ReturnType<typeof createInferenceMetrics>;
  readonly aliasStore: AliasStore;
  readonly rolloutStore: RolloutStore;
  readonly publishExposures: PublishExposures;
  readonly raise: RaiseAlert;
  /** Brings the book to what is wanted. */
  readonly follow: () => Promise<void>;
}

/** What says which version answers whom: aliases, rollouts, and the log of who was sent where. */
export async function openTraffic(
  { life, clock, telemetry }: RunContext<InferenceConfig>,
  { book, snapshot, metrics, aliasStore, rolloutStore, publishExposures, raise, follow }: TrafficParts,
) {
  const nowUs = () => clock.nowUs();
  const deploymentOf = (name: string) => snapshot().deployments.get(name);
  const preparation = createPreparation({ book, follow });
  const aliases = createAliases({
    store: aliasStore,
    nowUs,
    currentVersion: (name) => snapshot().models.get(name)?.version,
    prepare: preparation.prepare,
  });
  const rollouts = await createRollouts({
    store: rolloutStore,
    deploymentVersion: (name) => deploymentOf(name)?.version,
    readyVersion: (model, version) => book.ready(model, version).version,
    isTarget: (name, model, version) =>
      deploymentOf(name)?.spec.targets.some(
        (target) => target.model === model && book.find(model, target.modelVersion)?.version === version,
      ) ?? false,
    targetsOf: (name) => deploymentOf(name)?.spec.targets.map(({ model }) => model) ?? [],
    hasOutcome: (name) => snapshot().models.get(name)?.spec.outcome !== undefined,
    nowUs,
    async moveAlias(name, to, author) {
      const [own, ...others] = deploymentOf(name)?.spec.targets ?? [];
      if (!own?.modelVersion.startsWith('@') || others.length > 0 || own.model !== to.model) return undefined;
      const alias = own.modelVersion.slice(1);
      await aliases.set(to.model, [[alias, to.version]], author);
      return alias;
    },
    async moveAliasBack(alias, { model, version }, author) {
      if (aliases.find(model, alias)?.versions.at(-1) === version) await aliases.rollback(model, alias, author);
    },
    raise,
    onShadow: metrics.shadowed,
    onProblem: (event, error) => telemetry.log.warn({ event, error: String(error) }),
  });
  const exposures = createExposures({
    deployment: deploymentOf,
    publish: publishExposures,
    nowUs,
    onLogged: metrics.exposed,
    onDropped: metrics.unexposed,
    onProblem: (error) => telemetry.log.warn({ event: 'exposures_not_logged', error: String(error) }),
  });
  const flushes = setInterval(() => void exposures.flush(), exposureFlushMs);
  life.onStop('exposures', async () => {
    clearInterval(flushes);
    await exposures.flush();
  });
  return {
    aliases,
    rollouts,
    exposures,
    /** Versions that must be loaded beside what the registry names. */
    wanted: (): readonly Candidate[] => [...rollouts.candidates(), ...aliases.wanted(), ...preparation.wanted()],
    /** Once what serves is there. */
    start() {
      const ticks = setInterval(() => void rollouts.tick(), rolloutTickMs);
      life.onStop('rollouts', () => clearInterval(ticks));
    },
  };
}
