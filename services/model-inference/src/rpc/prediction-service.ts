import { inference } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import type { RegistrySnapshot } from '@millrace/registry';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { OutcomeBook } from '../app/outcomes.ts';
import type { Predict } from '../app/predict.ts';

/** The wire of PredictionService. */
export function predictionService(parts: {
  readonly predict: Predict;
  readonly outcomes: OutcomeBook;
  readonly snapshot: () => RegistrySnapshot;
  readonly ready: (model: string, version: string) => unknown;
}): ServiceBinding {
  return bindService(inference.PredictionServiceService, {
    predict: (request) => parts.predict(request),
    getQuality: ({ deployment }) => {
      const found = parts.snapshot().deployments.get(deployment);
      if (!found) throw new MeshError('UNKNOWN_DEPLOYMENT', `there is no deployment "${deployment}"`, { deployment });
      for (const { model, modelVersion } of found.spec.targets) parts.ready(model, modelVersion);
      const models = [...new Set(found.spec.targets.map(({ model }) => model))].flatMap((model) =>
        parts.outcomes.quality(model),
      );
      return {
        models: models.map(({ predictions, outcomes, ...quality }) => ({
          ...quality,
          predictions: BigInt(predictions),
          outcomes: BigInt(outcomes),
        })),
      };
    },
  });
}
