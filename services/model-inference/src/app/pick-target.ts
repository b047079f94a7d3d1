import type { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { routeOf } from '../domain/routing.ts';
import type { ModelBook } from './model-book.ts';
import type { CallRoute } from './rollouts.ts';

export interface PickedTarget {
  readonly model: string;
  readonly version: string;
}

/** Where a unit of a deployment goes: to a rollout's candidate, else to the target that its hash falls to. NOT_READY without any weight. */
export function pickTarget(
  name: string,
  { targets }: definitions.Deployment,
  unit: string,
  route: CallRoute | undefined,
  book: Pick<ModelBook, 'find'>,
): PickedTarget {
  const candidate = route?.candidateOf(unit);
  // one that is not loaded takes no traffic: after a restart the deployment's own targets may be there first
  if (candidate && book.find(candidate.model, candidate.version)?.state.t === 'ready') return candidate;
  const weighted = targets.map(({ model, modelVersion, weight }) => ({ model, version: modelVersion, weight }));
  const target = routeOf(weighted, unit);
  if (target) return target;
  throw new MeshError('NOT_READY', `deployment "${name}" sends traffic nowhere; give a target a weight`, {
    deployment: name,
  });
}
