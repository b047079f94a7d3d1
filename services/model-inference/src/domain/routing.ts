import { hash32 } from '@millrace/kernel';

export interface Target {
  readonly model: string;
  readonly version: string;
  readonly weight: number;
}

/** The same key always goes to the same target while the weights stay as they are; undefined when every weight is 0. */
export function routeOf(targets: readonly Target[], key: string): Target | undefined {
  const total = targets.reduce((sum, { weight }) => sum + weight, 0);
  if (total <= 0) return undefined;
  let point = (hash32(key) / 2 ** 32) * total;
  for (const target of targets) {
    point -= target.weight;
    if (point < 0) return target;
  }
  return targets.findLast(({ weight }) => weight > 0);
}
