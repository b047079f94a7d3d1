import type { TreeEnsemble } from '../trees.ts';
import { readLightgbm } from './lightgbm.ts';
import { readXgboost } from './xgboost.ts';

/** A native file of XGBoost (JSON) or LightGBM (text, or its JSON dump): which of them its content says. */
export function readTreeFile(text: string): TreeEnsemble {
  return /^\s*\{\s*"learner"/.test(text) || /"gradient_booster"\s*:/.test(text)
    ? readXgboost(text)
    : readLightgbm(text);
}
