import type { definitions, deployments } from '@millrace/contracts';
import { assignerOf } from './assign.ts';
import type { ModelBook } from './model-book.ts';
import { unknownDeployment } from './predict.ts';
import type { CallRoute } from './rollouts.ts';

export type ExplainRoute = (request: deployments.ExplainRouteRequest) => deployments.ExplainRouteResponse;

/** Where a request would go, and why; nothing is counted. UNKNOWN_DEPLOYMENT, INVALID_ARGUMENT without the declared unit. */
export function createExplainRoute(deps: {
  readonly book: ModelBook;
  readonly deployment: (name: string) => definitions.Deployment | undefined;
  readonly deployments: () => readonly string[];
  readonly rollout: (deployment: string) => CallRoute | undefined;
}): ExplainRoute {
  return ({ deployment, headers, keys, data, parameters, predictionKey }) => {
    const found = deps.deployment(deployment);
    if (!found) throw unknownDeployment(deployment, deps.deployments());
    const lower = new Map([...headers].map(([name, value]) => [name.toLowerCase(), value]));
    const request = { headers: lower, keys, data, parameters, predictionKey };
    const assigner = assignerOf(deployment, found, deps.rollout(deployment), deps.book);
    const to = assigner.assign(
      () => request,
      () => predictionKey || [...keys.values()].join('|'),
    );
    const { name, version } = deps.book.ready(to.model, to.version);
    return {
      unit: to.unit,
      rule: to.rule,
      rollout: to.route?.id ?? '',
      model: name,
      modelVersion: version,
      rules: [...assigner.verdicts(request, to.unit)],
    };
  };
}
