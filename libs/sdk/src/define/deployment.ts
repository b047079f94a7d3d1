import type { definitions } from '@millrace/contracts';
import type { Model } from './model.ts';
import { type Defined, define, type MetadataOptions } from './types.ts';

/** A version, or `@` and an alias (`@champion`), followed whenever it moves; left out: the current version when this is applied. */
export interface TargetOptions {
  readonly model: Model;
  readonly version?: string;
  readonly weight?: number;
}

/** Requests that go to targets of their own, and take no part in a rollout. */
export interface RuleOptions {
  readonly name: string;
  /**
   * CEL, a bool, of `headers`, `keys` (the row's entity keys, as strings), `data` (its request data, numbers), `parameters` (of the Open Inference Protocol),
   * `prediction_key` and `unit`: `headers["x-tenant"] == "beta"`. What cannot be evaluated, as the header is not there, does not match.
   */
  readonly when: string;
  readonly targets: readonly TargetOptions[];
}

export interface DeploymentOptions extends MetadataOptions {
  readonly targets: readonly TargetOptions[];
  /**
   * Whom or what a request is for, CEL, a string: `keys.customer`, `headers["x-user-id"]`. The same unit always goes to the same target. A request
   * without it is refused. Left out: the prediction key, else the entity's keys; of ModelInfer the parameter `unit`, the header `millrace-unit`, or its id.
   */
  readonly unit?: string;
  /** The first that matches decides. */
  readonly rules?: readonly RuleOptions[];
}

/** How traffic reaches model versions. */
export function deployment(
  name: string,
  options: DeploymentOptions,
): Defined & { readonly kind: 'deployment'; readonly name: string } {
  const spec = deploymentSpec({
    ...options,
    targets: named(options.targets),
    rules: options.rules?.map((rule) => ({ ...rule, targets: named(rule.targets) })),
  });
  return { kind: 'deployment', name, definition: define(name, options, { $case: 'deployment', value: spec }) };
}

const named = (targets: readonly TargetOptions[]) => targets.map((target) => ({ ...target, model: target.model.name }));

interface NamedTarget {
  readonly model: string;
  readonly version?: string | undefined;
  readonly weight?: number | undefined;
}

/** What TypeScript and YAML say of a deployment. */
export function deploymentSpec(given: {
  readonly targets: readonly NamedTarget[];
  readonly unit?: string | undefined;
  readonly rules?:
    | readonly { readonly name: string; readonly when: string; readonly targets: readonly NamedTarget[] }[]
    | undefined;
}): definitions.Deployment {
  const specs = (targets: readonly NamedTarget[]) =>
    targets.map(({ model: name, version, weight }) => ({
      model: name,
      modelVersion: version ?? '',
      weight: weight ?? 1,
    }));
  return {
    targets: specs(given.targets),
    unit: given.unit ?? '',
    rules: (given.rules ?? []).map(({ name, when, targets }) => ({ name, when, targets: specs(targets) })),
  };
}
