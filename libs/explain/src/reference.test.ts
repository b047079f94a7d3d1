import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readOnnxTrees, readTreeFile } from '@millrace/trees';
import { expect, test } from 'vitest';
import { treeExplainer } from './attributions.ts';

interface Expected {
  readonly rows: readonly (readonly (number | null)[])[];
  /** Of each row, the features' contributions and then the base; of several outputs, XGBoost nests and LightGBM concatenates them. */
  readonly contributions: readonly (readonly (number | readonly number[])[])[];
  readonly margins: readonly (number | readonly number[])[];
}

const fixtures = join(import.meta.dirname, 'fixtures');
const textOf = (name: string) => readFileSync(join(fixtures, name), 'utf8');
const expectedOf = (name: string): Expected => JSON.parse(textOf(`${name}.expected.json`));
const rowsOf = ({ rows }: Pick<Expected, 'rows'>) => rows.map((row) => row.map((value) => value ?? Number.NaN));

const cases = [
  ...['binary', 'multiclass', 'regression', 'poisson', 'forest'].map((kind) => [`xgboost-${kind}`, 'json'] as const),
  ...['binary', 'multiclass', 'regression', 'zeros'].flatMap((kind) => [
    [`lightgbm-${kind}`, 'txt'] as const,
    [`lightgbm-${kind}`, 'json'] as const,
  ]),
];

test.each(cases)('%s.%s: attributions are the library’s own to 1e-5, and they add up', (name, suffix) => {
  const expected = expectedOf(name);
  const explained = treeExplainer(readTreeFile(textOf(`${name}.${suffix}`)))(rowsOf(expected));
  expect(explained.length).toBe(12);
  for (const [row, outputs] of explained.entries()) {
    const theirs = (expected.contributions[row] ?? []).flat();
    const margins = [expected.margins[row] ?? []].flat();
    const ours = outputs.flatMap(({ values, base }) => [...values, base]);
    expect(ours.length).toBe(theirs.length);
    expect(outputs.length).toBe(margins.length);
    for (const [at, value] of ours.entries()) expect(Math.abs(value - (theirs[at] ?? Number.NaN))).toBeLessThan(1e-5);
    for (const [output, { margin, residual }] of outputs.entries()) {
      expect(Math.abs(margin - (margins[output] ?? Number.NaN))).toBeLessThan(1e-5);
      expect(Math.abs(residual)).toBeLessThan(1e-12);
    }
  }
});

test('an ONNX file with covers: every order, missing values and two targets in one leaf, as onnxruntime has them', () => {
  const expected = expectedOf('hitrates');
  const explained = treeExplainer(readOnnxTrees(readFileSync(join(fixtures, 'hitrates.onnx')), 3))(rowsOf(expected));
  expect(explained.map((outputs) => outputs.map(({ margin }) => margin))).toEqual(expected.margins);
  for (const { values, residual, base } of explained.flat()) {
    expect(values.some((value) => value !== 0)).toBe(true);
    expect(Math.abs(residual)).toBeLessThan(1e-12);
    expect(base).not.toBe(0);
  }
  const [first] = explained;
  // 0.5 + (1.5 × 25 + 0.25 × 35 − 12) ÷ 100, −0.25 + (−2 × 25 + 3 × 10 + 4 × 12 + 0.5 × 18) ÷ 100
  expect(first?.map(({ base }) => base)).toEqual([expect.closeTo(0.8425, 12), expect.closeTo(0.12, 12)]);
});

test.each(['binary', 'multiclass'])('an ONNX classifier (%s) with covers has the margins of the library', (kind) => {
  const expected = expectedOf(`xgboost-${kind}`);
  const trees = readOnnxTrees(readFileSync(join(fixtures, `covers-${kind}.onnx`)), 6);
  const explained = treeExplainer(trees)(rowsOf(expected));
  expect(explained.length).toBe(12);
  for (const [row, outputs] of explained.entries()) {
    const margins = [expected.margins[row] ?? []].flat();
    expect(outputs.length).toBe(margins.length);
    for (const [output, { margin, residual }] of outputs.entries()) {
      expect(Math.abs(margin - (margins[output] ?? Number.NaN))).toBeLessThan(1e-5);
      expect(Math.abs(residual)).toBeLessThan(1e-12);
    }
  }
});

test('an ONNX model of float64 inputs compares them as float64', () => {
  const { rows, single, double } = JSON.parse(textOf('hitrates-double.expected.json'));
  expect(single).not.toEqual(double);
  for (const [name, expected] of [
    ['hitrates', single],
    ['hitrates-double', double],
  ] as const) {
    const explained = treeExplainer(readOnnxTrees(readFileSync(join(fixtures, `${name}.onnx`)), 3))(rows);
    expect(explained.map((outputs) => outputs.map(({ margin }) => margin))).toEqual(expected);
  }
});

test.each([
  ['xgboost-binary', 6, /it has no nodes_hitrates.*save_model\('model.json'\)/],
  ['hitrates-ones', 3, /a node has 1, the two below it 1 and 1.*save_model\('model.json'\)/],
])('an ONNX file without covers (%s) is refused with what to give', (name, features, message) => {
  expect(() => readOnnxTrees(readFileSync(join(fixtures, `${name}.onnx`)), features)).toThrow(message);
});

test('what has no exact attributions is refused by name', () => {
  const xgboost = textOf('xgboost-binary.json');
  const lightgbm = textOf('lightgbm-binary.txt');
  expect(() => readTreeFile(xgboost.replace('"name":"gbtree"', '"name":"gblinear"'))).toThrow(/booster "gblinear"/);
  expect(() => readTreeFile(xgboost.replaceAll('"binary:logistic"', '"own"'))).toThrow(/objective "own"/);
  expect(() => readTreeFile(xgboost.replace('"categories_nodes":[]', '"categories_nodes":[0]'))).toThrow(/categories/);
  expect(() => readTreeFile(lightgbm.replace('is_linear=0', 'is_linear=1'))).toThrow(/linear/);
  expect(() => readTreeFile(lightgbm.replace(/decision_type=\d+/, 'decision_type=1'))).toThrow(/categories/);
  expect(() => readTreeFile(lightgbm.replace('feature_infos', 'average_output\nfeature_infos'))).toThrow(/averages/);
});

test('damaged files are refused', () => {
  const xgboost = textOf('xgboost-binary.json');
  const lightgbm = textOf('lightgbm-binary.txt');
  expect(() => readTreeFile(xgboost.slice(0, -100))).toThrow(/no JSON/);
  expect(() => readTreeFile(xgboost.replace('"left_children":[1,', '"left_children":[0,'))).toThrow(/two parents/);
  expect(() => readTreeFile(xgboost.replace('"left_children":[1,', '"left_children":[999,'))).toThrow(/does not exist/);
  expect(() =>
    readTreeFile(xgboost.replace('"num_feature":"6","num_target"', '"num_feature":"2","num_target"')),
  ).toThrow(/feature \d of 2/);
  expect(() => readTreeFile(lightgbm.replace('leaf_count=', 'leaf_count=1 '))).toThrow(/leaf_count/);
  expect(() => readTreeFile('')).toThrow(/no trees/);
});
