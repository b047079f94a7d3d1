import { fractionOf } from '@millrace/rollouts';

export interface Target {
  readonly model: string;
  readonly version: string;
  readonly weight: number;
}

/**
 * The same unit always goes to the same target while the weights stay as they are, and elsewhere in another experiment: who is in the small arm of one
 * is not for that in the small arm of the next. Undefined when every weight is 0.
 */
export function routeOf(targets: readonly Target[], experiment: string, unit: string): Target | undefined {
  const total = targets.reduce((sum, { weight }) => sum + weight, 0);
  if (total <= 0) return undefined;
  let point = fractionOf(experiment, unit) * total;
  for (const target of targets) {
    point -= target.weight;
    if (point < 0) return target;
  }
  return targets.findLast(({ weight }) => weight > 0);
}
