import { damaged, sampleInstead, unsupported } from '../problems.ts';
import { checked, type TreeEnsemble, type TreeNode } from '../trees.ts';
import { jsonReader, parseJson } from './json.ts';

const format = 'XGBoost JSON';
const read = jsonReader(format);

/** How `base_score` becomes a margin, by objective: XGBoost's ProbToMargin. */
const toMargin: Readonly<Record<string, (score: number) => number>> = {
  'binary:logistic': logit,
  'binary:logitraw': logit,
  'reg:logistic': logit,
  'count:poisson': Math.log,
  'reg:gamma': Math.log,
  'reg:tweedie': Math.log,
  'survival:cox': Math.log,
  'survival:aft': Math.log,
  ...Object.fromEntries(
    [
      'binary:hinge',
      'multi:softmax',
      'multi:softprob',
      'rank:map',
      'rank:ndcg',
      'rank:pairwise',
      'reg:absoluteerror',
      'reg:pseudohubererror',
      'reg:quantileerror',
      'reg:squarederror',
      'reg:squaredlogerror',
    ].map((name) => [name, (score: number) => score]),
  ),
};

function logit(score: number): number {
  return -Math.log(1 / score - 1);
}

/** The trees of `booster.save_model('x.json')`, all of them. Covers are the hessians' sums, base values in margin space. */
export function readXgboost(text: string): TreeEnsemble {
  const file = parseJson(format, text, "save it by booster.save_model('model.json'), not as .ubj");
  const learner = read.record(read.record(file, 'the file').learner, 'learner');
  const booster = read.record(learner.gradient_booster, 'learner.gradient_booster');
  const name = read.text(booster.name, 'learner.gradient_booster.name');
  if (name !== 'gbtree') throw unsupported(format, `is of the booster "${name}", not "gbtree"`, sampleInstead);
  const model = read.record(booster.model, 'learner.gradient_booster.model');
  const groups = read.numbers(model.tree_info, 'tree_info');
  const params = read.record(learner.learner_model_param, 'learner.learner_model_param');
  const objective = read.text(read.record(learner.objective, 'learner.objective').name, 'learner.objective.name');
  const outputs = Math.max(
    1,
    read.number(params.num_class, 'num_class'),
    read.number(params.num_target ?? 1, 'num_target'),
  );
  return checked({
    trees: read.list(model.trees, 'trees').map((tree, index) => readTree(tree, index, groups[index] ?? 0)),
    features: read.number(params.num_feature, 'num_feature'),
    featureNames: read
      .list(learner.feature_names ?? [], 'feature_names')
      .map((item) => read.text(item, 'feature_names')),
    outputs,
    baseValues: baseValues(params.base_score, objective, outputs),
    isFloat32: true,
  });
}

/** One score, or since 3.1 a list in brackets. */
function baseValues(given: unknown, objective: string, outputs: number): number[] {
  const margin = toMargin[objective];
  if (!margin)
    throw unsupported(format, `has the objective "${objective}", whose margins are not known`, sampleInstead);
  const scores = read
    .text(given, 'base_score')
    .replace(/^\[|\]$/g, '')
    .split(',')
    .map((score) => margin(Math.fround(read.number(score, 'base_score'))));
  if (scores.length !== 1 && scores.length !== outputs)
    throw damaged(format, `it has ${scores.length} base scores for ${outputs} outputs`);
  return Array.from({ length: outputs }, (_, output) => scores[scores.length === 1 ? 0 : output] ?? 0);
}

function readTree(value: unknown, index: number, output: number): TreeNode[] {
  const tree = read.record(value, `trees[${index}]`);
  const column = (name: string) => read.numbers(tree[name], `trees[${index}].${name}`);
  const width = read.number(read.record(tree.tree_param, 'tree_param').size_leaf_vector ?? 0, 'size_leaf_vector');
  if (width > 1)
    throw unsupported(format, 'has leaves of several outputs', "train it with multi_strategy='one_output_per_tree'");
  if (read.list(tree.categories_nodes ?? [], 'categories_nodes').length > 0)
    throw unsupported(format, 'splits by categories', `encode them as numbers before training, or ${sampleInstead}`);
  const left = column('left_children');
  const right = column('right_children');
  const conditions = column('split_conditions').map(Math.fround);
  const indices = column('split_indices');
  const defaults = column('default_left');
  const covers = column('sum_hessian');
  for (const list of [right, conditions, indices, defaults, covers])
    if (list.length !== left.length) throw damaged(format, `the columns of tree ${index} differ in length`);
  return left.map((child, at): TreeNode => {
    const cover = Math.fround(covers[at] ?? 0);
    const condition = conditions[at] ?? 0;
    if (child === -1) return { t: 'leaf', values: [{ output, value: condition }], cover };
    return {
      t: 'split',
      feature: indices[at] ?? 0,
      threshold: condition,
      decision: '<',
      missing: 'nan',
      missingLeft: defaults[at] === 1,
      left: child,
      right: right[at] ?? -1,
      cover,
    };
  });
}
