import type { definitions } from '@millrace/contracts';
import type { Assignment } from './assign.ts';

/** A unit that was sent to a model version. */
export interface Exposure {
  readonly unit: string;
  readonly model: string;
  readonly modelVersion: string;
  readonly rule: string;
  readonly rollout: string;
  readonly exposedUs: number;
}

/** Resolves once they are durable. */
export type PublishExposures = (
  deployment: string,
  deploymentVersion: string,
  exposures: readonly Exposure[],
) => Promise<void>;

/** Tells the rollout, and the exposure log of a deployment that declares its unit, where a unit was sent; whether it is answered or not. */
export type Expose = (
  deployment: string,
  to: Assignment,
  model: { readonly name: string; readonly version: string },
) => void;

export interface Exposures {
  readonly expose: Expose;
  /** Sends what waits; what cannot be sent waits on. */
  flush(): Promise<void>;
}

/** Units of each of two generations that are not logged again; beyond it the older is forgotten, and its units are logged once more. */
const unitsMax = 100_000;
/** Exposures that wait for the log; beyond it they are dropped and counted. */
const waitingMax = 100_000;
const batchMax = 1_000;

export function createExposures(deps: {
  readonly deployment: (
    name: string,
  ) => { readonly version: string; readonly spec: definitions.Deployment } | undefined;
  readonly publish: PublishExposures;
  readonly nowUs: () => number;
  readonly onLogged: (count: number) => void;
  readonly onDropped: (count: number) => void;
  readonly onProblem: (error: unknown) => void;
}): Exposures {
  let seen = new Set<string>();
  let seenBefore = new Set<string>();
  const waiting = new Map<string, { readonly deployment: string; readonly version: string; exposures: Exposure[] }>();
  let waitingCount = 0;
  let flushing: Promise<void> | undefined;

  async function send(): Promise<void> {
    for (const [id, { deployment, version, exposures }] of waiting) {
      while (exposures.length > 0) {
        const batch = exposures.slice(0, batchMax);
        await deps.publish(deployment, version, batch);
        exposures.splice(0, batch.length);
        waitingCount -= batch.length;
        deps.onLogged(batch.length);
      }
      waiting.delete(id);
    }
  }

  return {
    expose(deployment, { unit, rule, route }, { name, version }) {
      route?.exposed(unit);
      const registered = deps.deployment(deployment);
      if (!registered || registered.spec.unit === '') return;
      const rollout = route?.id ?? '';
      const id = `${deployment}@${registered.version}`;
      const key = `${id}|${rollout}|${rule}|${name}@${version}|${unit}`;
      if (seen.has(key) || seenBefore.has(key)) return;
      if (waitingCount >= waitingMax) {
        deps.onDropped(1);
        return;
      }
      if (seen.size >= unitsMax) [seenBefore, seen] = [seen, new Set()];
      seen.add(key);
      const queue = waiting.get(id) ?? { deployment, version: registered.version, exposures: [] };
      queue.exposures.push({ unit, model: name, modelVersion: version, rule, rollout, exposedUs: deps.nowUs() });
      waiting.set(id, queue);
      waitingCount++;
    },
    flush() {
      flushing ??= send()
        .catch(deps.onProblem)
        .finally(() => {
          flushing = undefined;
        });
      return flushing;
    },
  };
}
