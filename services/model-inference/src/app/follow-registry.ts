import type { definitions } from '@millrace/contracts';
import { type Registered, type RegistrySnapshot, targetsOf } from '@millrace/registry';
import type { ModelBook, WantedModel } from './model-book.ts';

/**
 * Brings the book to what the registry names: every current model, and the versions that deployments pin. Called again while it works,
 * it works again afterwards: the newest snapshot is the last one that the book gets.
 */
export function followRegistry(deps: {
  readonly book: ModelBook;
  readonly snapshot: () => RegistrySnapshot;
  readonly version: (name: string, version: string) => Promise<Registered<definitions.Model> | undefined>;
  /** Models that callers have unloaded. */
  readonly isUnloaded: (name: string) => boolean;
  /** What rollouts send traffic to, and what aliases point to. */
  readonly candidates: () => readonly { readonly model: string; readonly version: string }[];
  readonly onProblem: (model: string, error: unknown) => void;
}): () => Promise<void> {
  let following: Promise<void> = Promise.resolve();
  const follow = async () => {
    const snapshot = deps.snapshot();
    const wanted = new Map<string, WantedModel>();
    for (const { name, version, spec } of snapshot.models.values())
      wanted.set(`${name}@${version}`, { name, version, spec });
    const targets = [...snapshot.deployments.values()].flatMap(({ spec }) =>
      targetsOf(spec).map(({ target }) => ({ model: target.model, version: target.modelVersion })),
    );
    for (const { model, version } of [...targets, ...deps.candidates()]) {
      // aliases name their versions themselves
      if (version === '' || version.startsWith('@') || wanted.has(`${model}@${version}`)) continue;
      const pinned = await deps.version(model, version).catch((error) => deps.onProblem(model, error));
      if (pinned) wanted.set(`${model}@${version}`, { name: model, version, spec: pinned.spec });
    }
    deps.book.want(
      [...wanted.values()].filter(({ name }) => !deps.isUnloaded(name)),
      new Map([...snapshot.models.values()].map(({ name, version }) => [name, version])),
    );
  };
  return () => {
    following = following.then(follow);
    return following;
  };
}
