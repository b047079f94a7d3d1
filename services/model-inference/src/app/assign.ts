import type { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { compileTrafficRules, type TrafficRequest, type TrafficRules } from '@millrace/rollouts';
import { routeOf, type Target } from '../domain/routing.ts';
import type { ModelBook } from './model-book.ts';
import type { CallRoute } from './rollouts.ts';

export interface PickedTarget {
  readonly model: string;
  readonly version: string;
}

/** Where a request of a deployment, or one of its rows, goes. */
export interface Assignment extends PickedTarget {
  /** Whom or what it is for. */
  readonly unit: string;
  /** The rule that decided; empty: none did. */
  readonly rule: string;
  /** The rollout that it takes part in. */
  readonly route: CallRoute | undefined;
}

/** Says where requests of one deployment go. */
export interface Assigner {
  /** INVALID_ARGUMENT when the request lacks the declared unit, NOT_READY without any weight. */
  assign(request: () => TrafficRequest, fallbackUnit: () => string): Assignment;
  /** What each rule says of the request, for people. */
  verdicts(
    request: TrafficRequest,
    unit: string,
  ): readonly { readonly rule: string; readonly when: string; readonly matches: boolean; readonly problem: string }[];
}

interface Compiled {
  readonly traffic: TrafficRules;
  readonly targets: readonly Target[];
  readonly rules: readonly { readonly name: string; readonly targets: readonly Target[] }[];
  readonly seesRequest: boolean;
}

/** Compiled once for each definition: the registry gives the same object until it changes. */
const compiled = new WeakMap<definitions.Deployment, Compiled>();

/** By the first rule that matches, else to the rollout's candidate, else to the target that the unit's hash falls to. */
export function assignerOf(
  name: string,
  deployment: definitions.Deployment,
  route: CallRoute | undefined,
  book: Pick<ModelBook, 'find'>,
): Assigner {
  const { traffic, targets, rules, seesRequest } = compiledOf(name, deployment);
  return {
    assign(given, fallbackUnit) {
      const request = seesRequest ? given() : nothing;
      const unit = traffic.unitOf(request, fallbackUnit);
      const rule = rules[traffic.ruleOf(request, unit) ?? -1];
      if (rule) {
        const picked = routeOf(rule.targets, `${name}|${rule.name}`, unit) ?? nowhere(name);
        return { model: picked.model, version: picked.version, unit, rule: rule.name, route: undefined };
      }
      const candidate = route?.candidateOf(unit);
      // one that is not loaded takes no traffic: after a restart the deployment's own targets may be there first
      const isReady = candidate && book.find(candidate.model, candidate.version)?.state.t === 'ready';
      const picked = isReady ? candidate : (routeOf(targets, name, unit) ?? nowhere(name));
      return { model: picked.model, version: picked.version, unit, rule: '', route };
    },
    verdicts: (request, unit) =>
      traffic.verdicts(request, unit).map((verdict, at) => {
        const { name: rule = '', when = '' } = deployment.rules[at] ?? {};
        return { rule, when, ...verdict };
      }),
  };
}

const nothing: TrafficRequest = {
  headers: new Map(),
  keys: new Map(),
  data: new Map(),
  parameters: new Map(),
  predictionKey: '',
};

function compiledOf(name: string, deployment: definitions.Deployment): Compiled {
  const known = compiled.get(deployment);
  if (known) return known;
  const { unit, rules } = deployment;
  const fresh: Compiled = {
    traffic: compileTrafficRules({ name, unit, rules }),
    targets: deployment.targets.map(targetOf),
    rules: rules.map((rule) => ({ name: rule.name, targets: rule.targets.map(targetOf) })),
    seesRequest: unit !== '' || rules.length > 0,
  };
  compiled.set(deployment, fresh);
  return fresh;
}

function targetOf({ model, modelVersion, weight }: definitions.DeploymentTarget): Target {
  return { model, version: modelVersion, weight };
}

function nowhere(name: string): never {
  throw new MeshError('NOT_READY', `deployment "${name}" sends traffic nowhere; give a target a weight`, {
    deployment: name,
  });
}
