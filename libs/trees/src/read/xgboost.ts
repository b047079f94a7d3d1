import { damaged, unsupported } from '../problems.ts';
import type { Link, TreeModel } from '../tree-model.ts';
import { categoryBits, checked, type TreeEnsemble, type TreeNode } from '../trees.ts';
import { jsonReader, parseJson } from './json.ts';

const format = 'XGBoost JSON';
const read = jsonReader(format);

interface Objective {
  readonly link: Link;
  /** How `base_score` becomes a margin: XGBoost's ProbToMargin. */
  readonly toMargin: (score: number) => number;
}

const same = (score: number) => score;
// in float32, as there: sums begin with it
const logit = (score: number) => -Math.log(Math.fround(Math.fround(1 / score) - 1));
const identity: Objective = { link: { t: 'identity' }, toMargin: same };
const logistic: Objective = { link: { t: 'logistic', slope: 1 }, toMargin: logit };
const exponential: Objective = { link: { t: 'exp' }, toMargin: Math.log };

const objectives: Readonly<Record<string, Objective>> = {
  'binary:hinge': { link: { t: 'step' }, toMargin: same },
  'binary:logistic': logistic,
  'binary:logitraw': { link: { t: 'identity' }, toMargin: logit },
  'count:poisson': exponential,
  'multi:softmax': { link: { t: 'argmax' }, toMargin: same },
  'multi:softprob': { link: { t: 'softmax' }, toMargin: same },
  'rank:map': identity,
  'rank:ndcg': identity,
  'rank:pairwise': identity,
  'reg:absoluteerror': identity,
  'reg:gamma': exponential,
  'reg:logistic': logistic,
  'reg:pseudohubererror': identity,
  'reg:quantileerror': identity,
  'reg:squarederror': identity,
  'reg:squaredlogerror': identity,
  'reg:tweedie': exponential,
  'survival:aft': exponential,
  'survival:cox': exponential,
};

/** The trees of `booster.save_model('x.json')`, all of them. Covers are the hessians' sums, base values in margin space. */
export function readXgboost(text: string): TreeEnsemble {
  return readXgboostModel(parseJson(format, text, "save it by booster.save_model('model.json') or as .ubj")).ensemble;
}

/** The content of a file of either form. */
export function readXgboostModel(content: unknown): TreeModel {
  const file = read.record(content, 'the file');
  const learner = read.record(file.learner, 'learner');
  const booster = read.record(learner.gradient_booster, 'learner.gradient_booster');
  const { model, weights } = boosterOf(booster);
  const groups = read.numbers(model.tree_info, 'tree_info');
  const params = read.record(learner.learner_model_param, 'learner.learner_model_param');
  const name = read.text(read.record(learner.objective, 'learner.objective').name, 'learner.objective.name');
  const objective = Object.hasOwn(objectives, name) ? objectives[name] : undefined;
  if (!objective)
    throw unsupported(
      format,
      `has the objective "${name}", whose margins are not known`,
      `use one of ${Object.keys(objectives).join(', ')}`,
    );
  const outputs = Math.max(
    1,
    read.number(params.num_class, 'num_class'),
    read.number(params.num_target ?? 1, 'num_target'),
  );
  const ensemble = checked({
    trees: read
      .list(model.trees, 'trees')
      .map((tree, index) => readTree(tree, index, groups[index] ?? 0, weights?.[index] ?? 1)),
    features: read.number(params.num_feature, 'num_feature'),
    featureNames: read
      .list(learner.feature_names ?? [], 'feature_names')
      .map((item) => read.text(item, 'feature_names')),
    outputs,
    baseValues: baseValues(params.base_score, objective.toMargin, outputs),
    isFloat32: true,
  });
  const libraryVersion = file.version === undefined ? '' : read.numbers(file.version, 'version').join('.');
  return { library: 'xgboost', libraryVersion, objective: name, link: objective.link, ensemble };
}

/** The trees of a booster, and what each counts where some were dropped while it was trained. */
function boosterOf(booster: Readonly<Record<string, unknown>>) {
  const name = read.text(booster.name, 'learner.gradient_booster.name');
  if (name === 'gbtree') return { model: read.record(booster.model, 'gradient_booster.model'), weights: undefined };
  if (name !== 'dart')
    throw unsupported(format, `is of the booster "${name}", not "gbtree" or "dart"`, 'convert it to ONNX');
  const inner = read.record(booster.gbtree, 'gradient_booster.gbtree');
  const model = read.record(inner.model, 'gradient_booster.gbtree.model');
  return { model, weights: read.numbers(booster.weight_drop, 'gradient_booster.weight_drop') };
}

/** One score, or since 3.1 a list in brackets. */
function baseValues(given: unknown, toMargin: Objective['toMargin'], outputs: number): number[] {
  const scores = read
    .text(given, 'base_score')
    .replace(/^\[|\]$/g, '')
    .split(',')
    .map((score) => toMargin(Math.fround(read.number(score, 'base_score'))));
  if (scores.length !== 1 && scores.length !== outputs)
    throw damaged(format, `it has ${scores.length} base scores for ${outputs} outputs`);
  return Array.from({ length: outputs }, (_, output) => scores[scores.length === 1 ? 0 : output] ?? 0);
}

function readTree(value: unknown, index: number, output: number, weight: number): TreeNode[] {
  const tree = read.record(value, `trees[${index}]`);
  const column = (name: string) => read.numbers(tree[name], `trees[${index}].${name}`);
  const width = read.number(read.record(tree.tree_param, 'tree_param').size_leaf_vector ?? 0, 'size_leaf_vector');
  if (width > 1)
    throw unsupported(format, 'has leaves of several outputs', "train it with multi_strategy='one_output_per_tree'");
  const categories = categoriesOf(tree, index);
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
    if (child === -1) return { t: 'leaf', values: [{ output, value: Math.fround(condition * weight) }], cover };
    const chosen = categories.get(at);
    const other = right[at] ?? -1;
    const missingLeft = defaults[at] === 1;
    const split = { t: 'split', feature: indices[at] ?? 0, threshold: condition, missing: 'nan', cover } as const;
    // XGBoost sends the categories of a split to its right
    return chosen
      ? { ...split, decision: 'in', categories: chosen, missingLeft: !missingLeft, left: other, right: child }
      : { ...split, decision: '<', missingLeft, left: child, right: other };
  });
}

/** By node: the categories that it sends to its right. */
function categoriesOf(tree: Readonly<Record<string, unknown>>, index: number): Map<number, Uint32Array> {
  const column = (name: string) => read.numbers(tree[name] ?? [], `trees[${index}].${name}`);
  const [all, starts, sizes] = [column('categories'), column('categories_segments'), column('categories_sizes')];
  return new Map(
    column('categories_nodes').map((node, at) => {
      const start = starts[at] ?? -1;
      const chosen = all.slice(start, start + (sizes[at] ?? 0));
      // XGBoost's own limit
      const wrong = chosen.find((category) => !(category >= 0 && category < 2 ** 24));
      if (start < 0 || wrong !== undefined) throw damaged(format, `the categories of tree ${index} are ${wrong}`);
      return [node, categoryBits(chosen)];
    }),
  );
}
