import { MeshError } from '@millrace/kernel';
import { predictionWidth, readTreeModel, type TreeModel, treePredictor } from '@millrace/trees';
import type { SessionShape, WireTensor } from './onnx-messages.ts';
import type { Session } from './session.ts';

const inputName = 'input';
const predictionName = 'prediction';
const marginName = 'margin';

/** A native file of XGBoost or LightGBM: what `Booster.predict` answers, and the margins before its link. */
export function openTrees(bytes: Uint8Array, format: string): Session {
  const model = readTreeModel(bytes);
  if (model.library !== format)
    throw new MeshError('MODEL_LOAD_FAILED', `its file is of ${model.library}; write format: ${model.library}`, {
      format,
      found: model.library,
    });
  const predict = treePredictor(model);
  const { features, outputs, isFloat32 } = model.ensemble;
  const width = predictionWidth(model);
  const type = isFloat32 ? 'float32' : 'float64';
  return {
    shape: shapeOf(model, type, width),
    async run(feeds, fetches) {
      const data = feeds[0]?.data as Float32Array | Float64Array;
      const rows = data.length / features;
      const { predictions, margins } = predict(data, rows);
      return fetches.map(
        (name): WireTensor =>
          name === marginName
            ? { name, type, shape: [rows, outputs], data: margins }
            : { name, type, shape: [rows, width], data: predictions },
      );
    },
    release: async () => undefined,
  };
}

function shapeOf(
  { library, libraryVersion, objective, ensemble }: TreeModel,
  type: string,
  width: number,
): SessionShape {
  const names = ensemble.featureNames.length > 0 ? { feature_names: JSON.stringify(ensemble.featureNames) } : {};
  return {
    facts: {
      irVersion: 0,
      opsets: {},
      producer: library,
      producerVersion: libraryVersion,
      metadata: { objective, trees: String(ensemble.trees.length), ...names },
      labels: {},
      changes: [],
      batching: { t: 'safe' },
    },
    inputs: [{ name: inputName, type, shape: [-1, ensemble.features] }],
    outputs: [
      { name: predictionName, type, shape: [-1, width] },
      { name: marginName, type, shape: [-1, ensemble.outputs] },
    ],
  };
}
