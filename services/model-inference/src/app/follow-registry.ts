import type { definitions } from '@millrace/contracts';
import type { Registered, RegistrySnapshot } from '@millrace/registry';
import type { ModelBook, WantedModel } from './model-book.ts';

/** Keeps the book at what the registry names: every current model, and the versions that deployments pin. */
export function followRegistry(deps: {
  readonly book: ModelBook;
  readonly version: (name: string, version: string) => Promise<Registered<definitions.Model> | undefined>;
  readonly onProblem: (model: string, error: unknown) => void;
}): (snapshot: RegistrySnapshot) => Promise<void> {
  return async (snapshot) => {
    const wanted = new Map<string, WantedModel>();
    for (const { name, version, spec } of snapshot.models.values())
      wanted.set(`${name}@${version}`, { name, version, spec });
    for (const { spec } of snapshot.deployments.values()) {
      for (const { model, modelVersion } of spec.targets) {
        if (modelVersion === '' || wanted.has(`${model}@${modelVersion}`)) continue;
        const pinned = await deps.version(model, modelVersion).catch((error) => deps.onProblem(model, error));
        if (pinned) wanted.set(`${model}@${modelVersion}`, { name: model, version: modelVersion, spec: pinned.spec });
      }
    }
    deps.book.want(
      [...wanted.values()],
      new Map([...snapshot.models.values()].map(({ name, version }) => [name, version])),
    );
  };
}
