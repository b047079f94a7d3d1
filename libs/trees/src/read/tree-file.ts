import { damaged } from '../problems.ts';
import type { TreeModel } from '../tree-model.ts';
import type { TreeEnsemble } from '../trees.ts';
import { parseJson } from './json.ts';
import { readLightgbmModel } from './lightgbm.ts';
import { isUbjson, parseUbjson } from './ubjson.ts';
import { readXgboostModel } from './xgboost.ts';

/** A native file of XGBoost (JSON) or LightGBM (text, or its JSON dump): which of them its content says. */
export function readTreeFile(text: string): TreeEnsemble {
  return modelOf(text).ensemble;
}

/** The same, and how the library predicts with it; XGBoost's UBJSON too. */
export function readTreeModel(bytes: Uint8Array): TreeModel {
  if (isUbjson(bytes)) return readXgboostModel(parseUbjson(bytes));
  try {
    return modelOf(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    if (error instanceof TypeError) throw damaged('tree', 'it is neither text nor UBJSON');
    throw error;
  }
}

function modelOf(text: string): TreeModel {
  const isXgboost = /^\s*\{\s*"learner"/.test(text) || /"gradient_booster"\s*:/.test(text);
  return isXgboost
    ? readXgboostModel(parseJson('XGBoost JSON', text, "save it by booster.save_model('model.json') or as .ubj"))
    : readLightgbmModel(text);
}
