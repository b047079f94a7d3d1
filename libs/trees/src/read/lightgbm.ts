import { damaged, unsupported } from '../problems.ts';
import type { Link, TreeModel } from '../tree-model.ts';
import { categoryBits, checked, depthMax, type Missing, type TreeEnsemble, type TreeNode } from '../trees.ts';
import { jsonReader, parseJson } from './json.ts';

const format = 'LightGBM';
const read = jsonReader(format);

/** The trees of `booster.save_model('x.txt')` or of `json.dumps(booster.dump_model())`, all of them. Covers are counts of rows. */
export function readLightgbm(text: string): TreeEnsemble {
  return readLightgbmModel(text).ensemble;
}

export function readLightgbmModel(text: string): TreeModel {
  const { ensemble, objective } = text.trimStart().startsWith('{') ? fromJson(text) : fromText(text);
  return { library: 'lightgbm', libraryVersion: '', objective, link: linkOf(objective), ensemble: checked(ensemble) };
}

interface Content {
  readonly ensemble: TreeEnsemble;
  /** Its name and its parameters, as `binary sigmoid:1`; empty for one of the author's own, whose margins are the predictions. */
  readonly objective: string;
}

function linkOf(objective: string): Link {
  const [name = '', ...parameters] = objective.split(' ');
  const sigmoid = parameters.find((parameter) => parameter.startsWith('sigmoid:'))?.slice('sigmoid:'.length);
  switch (name) {
    case 'binary':
    case 'multiclassova':
      return { t: 'logistic', slope: read.number(sigmoid ?? 1, 'sigmoid') };
    case 'cross_entropy':
      return { t: 'logistic', slope: 1 };
    case 'cross_entropy_lambda':
      return { t: 'softplus' };
    case 'multiclass':
      return { t: 'softmax' };
    case 'poisson':
    case 'gamma':
    case 'tweedie':
      return { t: 'exp' };
    case 'regression':
    case 'regression_l1':
    case 'huber':
    case 'fair':
    case 'quantile':
    case 'mape':
    case 'lambdarank':
    case 'rank_xendcg':
    case '':
    case 'custom':
      return parameters.includes('sqrt') ? { t: 'signed_square' } : { t: 'identity' };
    default:
      throw unsupported(format, `has the objective "${name}", which is not known here`, 'convert it to ONNX');
  }
}

function fromText(text: string): Content {
  const [head = '', ...sections] = (text.split('\nend of trees')[0] ?? '').split(/\nTree=\d+\r?\n/);
  const header = entriesOf(head);
  if (sections.length === 0) throw damaged(format, 'it has no trees');
  if (/^average_output\s*$/m.test(head)) throw averaged();
  const outputs = read.number(header.get('num_tree_per_iteration'), 'num_tree_per_iteration');
  const ensemble = {
    trees: sections.map((section, index) => textTree(entriesOf(section), index, index % outputs)),
    features: read.number(header.get('max_feature_idx'), 'max_feature_idx') + 1,
    featureNames: header.get('feature_names')?.split(' ') ?? [],
    outputs,
    baseValues: new Array<number>(outputs).fill(0),
    isFloat32: false,
  };
  return { ensemble, objective: header.get('objective')?.trim() ?? '' };
}

function entriesOf(section: string): Map<string, string> {
  return new Map(
    section.split(/\r?\n/).map((line): [string, string] => {
      const at = line.indexOf('=');
      return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

/** As the file writes thresholds that every number passes. */
const infinities: Readonly<Record<string, number>> = {
  inf: Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
};

const missingOf: readonly Missing[] = ['none', 'zero', 'nan'];

/** Splits first, then leaves, which the file numbers −1, −2, … */
function textTree(entries: ReadonlyMap<string, string>, index: number, output: number): TreeNode[] {
  const column = (name: string, length: number): number[] => {
    const words = (entries.get(name) ?? '').split(' ').filter((word) => word !== '');
    if (words.length !== length) throw damaged(format, `tree ${index} has ${words.length} of ${name}, not ${length}`);
    return words.map((word) => read.number(infinities[word] ?? word, `${name} of tree ${index}`));
  };
  const leaves = read.number(entries.get('num_leaves'), `num_leaves of tree ${index}`);
  if (!Number.isInteger(leaves) || leaves < 1) throw damaged(format, `tree ${index} has ${leaves} leaves`);
  if (entries.get('is_linear') === '1') throw linear();
  const splits = leaves - 1;
  const values = column('leaf_value', leaves);
  const leafCovers = splits === 0 ? [1] : column('leaf_count', leaves);
  const leafNodes = values.map(
    (value, at): TreeNode => ({ t: 'leaf', values: [{ output, value }], cover: leafCovers[at] ?? 0 }),
  );
  if (splits === 0) return leafNodes;
  const [left, right, decisions, thresholds, features, covers] = [
    column('left_child', splits),
    column('right_child', splits),
    column('decision_type', splits),
    column('threshold', splits),
    column('split_feature', splits),
    column('internal_count', splits),
  ];
  const isCategorical = decisions.some((decision) => (decision & 1) === 1);
  const categories = isCategorical ? categoriesOf(entries, index) : [];
  const nodeOf = (child: number | undefined = 0) => (child < 0 ? splits + ~child : child);
  const splitNodes = decisions.map((decision, at): TreeNode => {
    const way = { left: nodeOf(left[at]), right: nodeOf(right[at]), cover: covers[at] ?? 0 };
    const split = { t: 'split', feature: features[at] ?? 0, threshold: thresholds[at] ?? 0, ...way } as const;
    if ((decision & 1) === 1) return { ...split, ...byCategories(categories[split.threshold], index) };
    const missing = missingOf[(decision >> 2) & 3] ?? 'none';
    return { ...split, decision: '<=', missing, missingLeft: (decision & 2) === 2 };
  });
  return [...splitNodes, ...leafNodes];
}

/** A missing value is in no set of categories. */
function byCategories(categories: Uint32Array | undefined, index: number) {
  if (!categories) throw damaged(format, `a split of tree ${index} has no categories`);
  return { decision: 'in', missing: 'nan', missingLeft: false, categories } as const;
}

/** Sets of categories, as bits, in the order of the tree's splits by them. */
function categoriesOf(entries: ReadonlyMap<string, string>, index: number): Uint32Array[] {
  if (!entries.has('cat_boundaries')) throw damaged(format, `tree ${index} splits by categories and has none`);
  const numbers = (name: string) =>
    (entries.get(name) ?? '').split(' ').map((word) => read.number(word, `${name} of tree ${index}`));
  const bounds = numbers('cat_boundaries');
  const words = Uint32Array.from(numbers('cat_threshold'));
  return bounds.slice(1).map((end, at) => words.slice(bounds[at] ?? 0, end));
}

function fromJson(text: string): Content {
  const file = read.record(parseJson(format, text, 'write json.dumps(booster.dump_model())'), 'the file');
  if (file.average_output === true) throw averaged();
  const outputs = read.number(file.num_tree_per_iteration, 'num_tree_per_iteration');
  const ensemble = {
    trees: read.list(file.tree_info, 'tree_info').map((info, index) => {
      const nodes: TreeNode[] = [];
      addJsonNode(read.record(info, `tree_info[${index}]`).tree_structure, nodes, index % outputs, 0);
      return nodes;
    }),
    features: read.number(file.max_feature_idx, 'max_feature_idx') + 1,
    featureNames: read.list(file.feature_names ?? [], 'feature_names').map((name) => read.text(name, 'feature_names')),
    outputs,
    baseValues: new Array<number>(outputs).fill(0),
    isFloat32: false,
  };
  return { ensemble, objective: read.text(file.objective ?? '', 'objective') };
}

const missingNames: Readonly<Record<string, Missing>> = { None: 'none', Zero: 'zero', NaN: 'nan' };

/** Adds a node and what is below it; its place. */
function addJsonNode(value: unknown, nodes: TreeNode[], output: number, depth: number): number {
  if (depth > depthMax) throw damaged(format, `it has a tree deeper than ${depthMax}`);
  const given = read.record(value, 'tree_structure');
  const at = nodes.length;
  if (given.leaf_coeff !== undefined) throw linear();
  if (given.split_feature === undefined) {
    const cover = read.number(given.leaf_count ?? 1, 'leaf_count');
    nodes.push({ t: 'leaf', values: [{ output, value: read.number(given.leaf_value, 'leaf_value') }], cover });
    return at;
  }
  // the children's places are known when they are there
  nodes.push({ t: 'leaf', values: [], cover: 0 });
  const left = addJsonNode(given.left_child, nodes, output, depth + 1);
  const right = addJsonNode(given.right_child, nodes, output, depth + 1);
  const split = {
    t: 'split',
    feature: read.number(given.split_feature, 'split_feature'),
    left,
    right,
    cover: read.number(given.internal_count, 'internal_count'),
  } as const;
  nodes[at] = { ...split, ...jsonDecision(given) };
  return at;
}

function jsonDecision(given: Readonly<Record<string, unknown>>) {
  if (given.decision_type === '==') {
    const categories = read.text(given.threshold, 'threshold').split('||');
    const chosen = categories.map((category) => read.number(category, 'threshold'));
    const wrong = chosen.find((category) => !(category >= 0 && category < 2 ** 24));
    if (wrong !== undefined) throw damaged(format, `it has the category ${wrong}`);
    return { threshold: 0, ...byCategories(categoryBits(chosen), 0) };
  }
  if (given.decision_type !== '<=') throw damaged(format, `it has the decision "${String(given.decision_type)}"`);
  const missing = missingNames[read.text(given.missing_type, 'missing_type')];
  if (!missing) throw damaged(format, `it has the missing_type "${String(given.missing_type)}"`);
  const threshold = read.number(given.threshold, 'threshold');
  return { threshold, decision: '<=', missing, missingLeft: given.default_left === true } as const;
}

function averaged() {
  return unsupported(format, 'averages its trees (boosting "rf")', 'convert it to ONNX');
}

function linear() {
  return unsupported(format, 'has linear models in its leaves', 'train it with linear_tree=false');
}
