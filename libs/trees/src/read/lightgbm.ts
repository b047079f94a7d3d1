import { damaged, sampleInstead, unsupported } from '../problems.ts';
import { checked, depthMax, type Missing, type TreeEnsemble, type TreeNode } from '../trees.ts';
import { jsonReader, parseJson } from './json.ts';

const format = 'LightGBM';
const read = jsonReader(format);

/** The trees of `booster.save_model('x.txt')` or of `json.dumps(booster.dump_model())`, all of them. Covers are counts of rows. */
export function readLightgbm(text: string): TreeEnsemble {
  return checked(text.trimStart().startsWith('{') ? fromJson(text) : fromText(text));
}

function fromText(text: string): TreeEnsemble {
  const [head = '', ...sections] = (text.split('\nend of trees')[0] ?? '').split(/\nTree=\d+\r?\n/);
  const header = entriesOf(head);
  if (sections.length === 0) throw damaged(format, 'it has no trees');
  if (/^average_output\s*$/m.test(head)) throw averaged();
  const outputs = read.number(header.get('num_tree_per_iteration'), 'num_tree_per_iteration');
  return {
    trees: sections.map((section, index) => textTree(entriesOf(section), index, index % outputs)),
    features: read.number(header.get('max_feature_idx'), 'max_feature_idx') + 1,
    featureNames: header.get('feature_names')?.split(' ') ?? [],
    outputs,
    baseValues: new Array<number>(outputs).fill(0),
    isFloat32: false,
  };
}

function entriesOf(section: string): Map<string, string> {
  return new Map(
    section.split(/\r?\n/).map((line): [string, string] => {
      const at = line.indexOf('=');
      return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

const missingOf: readonly Missing[] = ['none', 'zero', 'nan'];

/** Splits first, then leaves, which the file numbers −1, −2, … */
function textTree(entries: ReadonlyMap<string, string>, index: number, output: number): TreeNode[] {
  const column = (name: string, length: number): number[] => {
    const words = (entries.get(name) ?? '').split(' ').filter((word) => word !== '');
    if (words.length !== length) throw damaged(format, `tree ${index} has ${words.length} of ${name}, not ${length}`);
    return words.map((word) => read.number(word, `${name} of tree ${index}`));
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
  const nodeOf = (child: number | undefined = 0) => (child < 0 ? splits + ~child : child);
  const splitNodes = decisions.map((decision, at): TreeNode => {
    if ((decision & 1) === 1) throw categorical();
    return {
      t: 'split',
      feature: features[at] ?? 0,
      threshold: thresholds[at] ?? 0,
      decision: '<=',
      missing: missingOf[(decision >> 2) & 3] ?? 'none',
      missingLeft: (decision & 2) === 2,
      left: nodeOf(left[at]),
      right: nodeOf(right[at]),
      cover: covers[at] ?? 0,
    };
  });
  return [...splitNodes, ...leafNodes];
}

function fromJson(text: string): TreeEnsemble {
  const file = read.record(parseJson(format, text, 'write json.dumps(booster.dump_model())'), 'the file');
  if (file.average_output === true) throw averaged();
  const outputs = read.number(file.num_tree_per_iteration, 'num_tree_per_iteration');
  return {
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
  if (given.decision_type !== '<=') throw categorical();
  const missing = missingNames[read.text(given.missing_type, 'missing_type')];
  if (!missing) throw damaged(format, `it has the missing_type "${String(given.missing_type)}"`);
  // the children's places are known when they are there
  nodes.push({ t: 'leaf', values: [], cover: 0 });
  const left = addJsonNode(given.left_child, nodes, output, depth + 1);
  const right = addJsonNode(given.right_child, nodes, output, depth + 1);
  nodes[at] = {
    t: 'split',
    feature: read.number(given.split_feature, 'split_feature'),
    threshold: read.number(given.threshold, 'threshold'),
    decision: '<=',
    missing,
    missingLeft: given.default_left === true,
    left,
    right,
    cover: read.number(given.internal_count, 'internal_count'),
  };
  return at;
}

function averaged() {
  return unsupported(format, 'averages its trees (boosting "rf")', sampleInstead);
}

function linear() {
  return unsupported(format, 'has linear models in its leaves', `train it with linear_tree=false, or ${sampleInstead}`);
}

function categorical() {
  return unsupported(format, 'splits by categories', `encode them as numbers before training, or ${sampleInstead}`);
}
