import type { definitions } from '@millrace/contracts';

/** A target and where it stands in its definition. */
export interface PlacedTarget {
  readonly field: string;
  readonly target: definitions.DeploymentTarget;
}

/** Every target of a deployment, its own first, then those of its rules. */
export function targetsOf({ targets, rules }: definitions.Deployment): PlacedTarget[] {
  return [
    ...targets.map((target, index) => ({ field: `targets.${index}`, target })),
    ...rules.flatMap((rule, at) =>
      rule.targets.map((target, index) => ({ field: `rules.${at}.targets.${index}`, target })),
    ),
  ];
}
