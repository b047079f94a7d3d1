import { inference } from '@millrace/contracts';
import { type RegistrySnapshot, targetsOf } from '@millrace/registry';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { DriftMonitor } from '../app/drift-monitor.ts';
import type { ExplainRows } from '../app/explain-rows.ts';
import type { OutcomeBook } from '../app/outcomes.ts';
import { type Predict, unknownDeployment } from '../app/predict.ts';
import { driftMessage } from './drift-message.ts';
import { explainMessage } from './explain-message.ts';

/** The wire of PredictionService. */
export function predictionService(parts: {
  readonly predict: Predict;
  readonly explain: ExplainRows;
  readonly outcomes: OutcomeBook;
  readonly drift: DriftMonitor;
  readonly snapshot: () => RegistrySnapshot;
}): ServiceBinding {
  return bindService(inference.PredictionServiceService, {
    predict: (request, caller) => parts.predict(request, caller),
    explain: async (request, caller) => explainMessage(await parts.explain(request, caller)),
    getDrift: ({ model, modelVersion }) => ({
      versions: parts.drift.report(model, modelVersion).map((one) => driftMessage(one, parts.drift.rowsMin)),
    }),
    getQuality: ({ deployment }) => {
      const { deployments } = parts.snapshot();
      const found = deployments.get(deployment);
      if (!found) throw unknownDeployment(deployment, [...deployments.keys()]);
      const models = [...new Set(targetsOf(found.spec).map(({ target }) => target.model))].flatMap((model) =>
        parts.outcomes.quality(model),
      );
      return {
        models: models.map(({ predictions, outcomes, segments, ...quality }) => ({
          ...quality,
          segments: segments.map((one) => ({
            ...one,
            predictions: BigInt(one.predictions),
            outcomes: BigInt(one.outcomes),
          })),
          predictions: BigInt(predictions),
          outcomes: BigInt(outcomes),
        })),
      };
    },
  });
}
