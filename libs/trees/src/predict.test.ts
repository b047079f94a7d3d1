import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { treePredictor } from './predict.ts';
import { readTreeModel } from './read/tree-file.ts';
import { parseUbjson } from './read/ubjson.ts';
import { categoryBits, marginsOf, type TreeEnsemble, type TreeNode } from './trees.ts';

const fixtures = join(import.meta.dirname, 'fixtures');
const files = readdirSync(fixtures).filter(
  (file) => /\.(json|ubj|txt)$/.test(file) && /^(xgboost|lightgbm)-/.test(file),
);
const models = files.filter((file) => !file.endsWith('.expected.json'));

interface Expected {
  readonly rows: readonly (readonly (number | null)[])[];
  readonly predictions: readonly (readonly number[])[];
  readonly margins: readonly (readonly number[])[];
}

test('both libraries and every form of their files are here', () => {
  expect(models.filter((file) => file.startsWith('xgboost')).length).toBeGreaterThan(10);
  expect(models.filter((file) => file.startsWith('lightgbm')).length).toBeGreaterThan(10);
  expect(new Set(models.map((file) => file.split('.').at(-1)))).toEqual(new Set(['json', 'ubj', 'txt']));
});

test.each(models)('%s: what the library predicts, missing values too', (file) => {
  const model = readTreeModel(readFileSync(join(fixtures, file)));
  const text = readFileSync(join(fixtures, file.replace(/\.\w+$/, '.expected.json')), 'utf8');
  const expected = JSON.parse(text) as Expected;
  const rows = expected.rows.map((row) => row.map((value) => value ?? Number.NaN));
  expect(rows.length).toBe(16);
  expect(rows.flat().some(Number.isNaN)).toBe(true);
  const values = model.ensemble.isFloat32 ? Float32Array.from(rows.flat()) : Float64Array.from(rows.flat());
  const { predictions, margins } = treePredictor(model)(values, rows.length);
  // XGBoost's sums are float32 and so are ours: the same bits
  if (model.library === 'xgboost') expect([...margins]).toEqual(expected.margins.flat());
  expect(margins.length).toBe(expected.margins.flat().length);
  for (const [at, margin] of expected.margins.flat().entries()) expect(margins[at]).toBeCloseTo(margin, 12);
  expect(predictions.length).toBe(expected.predictions.flat().length);
  for (const [at, wanted] of expected.predictions.flat().entries())
    expect(Math.abs((predictions[at] ?? Number.NaN) - wanted)).toBeLessThanOrEqual(
      1e-6 * Math.max(1, Math.abs(wanted)),
    );
});

test('trees in typed arrays go the ways of trees in objects', () => {
  const value = fc.oneof(fc.integer({ min: -3, max: 40 }), fc.constant(Number.NaN), fc.double({ noNaN: true }));
  const split = fc.record({
    feature: fc.integer({ min: 0, max: 1 }),
    threshold: fc.integer({ min: -2, max: 3 }),
    decision: fc.constantFrom('<', '<=', 'in'),
    missing: fc.constantFrom('nan', 'zero', 'none'),
    missingLeft: fc.boolean(),
    categories: fc.array(fc.integer({ min: 0, max: 40 })).map(categoryBits),
  });
  const tree = fc.array(split, { maxLength: 6 }).map((splits): TreeNode[] => [
    // a chain: node i's right is the next split
    ...splits.map(
      (one, at): TreeNode => ({
        t: 'split',
        ...one,
        left: splits.length + at,
        right: at + 1 === splits.length ? 2 * splits.length : at + 1,
        cover: 1,
      }),
    ),
    ...Array.from(
      { length: splits.length + 1 },
      (_, at): TreeNode => ({ t: 'leaf', cover: 1, values: [{ output: at % 2, value: at + 0.5 }] }),
    ),
  ]);
  fc.assert(
    fc.property(fc.array(tree, { minLength: 1, maxLength: 3 }), fc.array(fc.tuple(value, value)), (trees, rows) => {
      const ensemble: TreeEnsemble = {
        trees,
        features: 2,
        featureNames: [],
        outputs: 2,
        baseValues: [0.25, -1],
        isFloat32: false,
      };
      const model = {
        library: 'lightgbm',
        libraryVersion: '',
        objective: '',
        link: { t: 'identity' },
        ensemble,
      } as const;
      const { margins } = treePredictor(model)(Float64Array.from(rows.flat()), rows.length);
      expect([...margins]).toEqual(rows.flatMap((row) => [...marginsOf(ensemble, row)]));
    }),
  );
});

test('damaged UBJSON ends with a reason, whatever byte is wrong', () => {
  const whole = readFileSync(join(fixtures, 'xgboost-logistic.ubj'));
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 }), (at, byte) => {
      for (const bytes of [whole.subarray(0, at), Buffer.from(whole).fill(byte, at, at + 1)]) {
        try {
          readTreeModel(bytes);
        } catch (error) {
          expect((error as { reason?: string }).reason).toMatch(/^(MODEL_LOAD_FAILED|UNSUPPORTED)$/);
        }
      }
    }),
    { numRuns: 300 },
  );
  expect(() => parseUbjson(Buffer.from('[$Z#L\u0000\u0000\u0000\u007f\u007f\u007f\u007f\u007f', 'latin1'))).toThrow(
    'a list of "Z"',
  );
  expect(() => parseUbjson(Buffer.from('[$d#l\u007f\u007f\u007f\u007f', 'latin1'))).toThrow('runs past its end');
  expect(() => parseUbjson(Buffer.from('['.repeat(100)))).toThrow('nested deeper');
});

test('what is not served is refused by name', () => {
  const text = readFileSync(join(fixtures, 'xgboost-logistic.json'), 'utf8');
  const refused = (from: string, to: string) => () => readTreeModel(Buffer.from(text.replaceAll(from, to)));
  expect(refused('"binary:logistic"', '"own"')).toThrow(/objective "own".*use one of binary:hinge/);
  expect(refused('"name":"gbtree"', '"name":"gblinear"')).toThrow(/booster "gblinear".*convert it to ONNX/);
  const lightgbm = readFileSync(join(fixtures, 'lightgbm-sigmoid.txt'), 'utf8');
  expect(() => readTreeModel(Buffer.from(lightgbm.replace('objective=binary', 'objective=own')))).toThrow(/"own"/);
  expect(() => readTreeModel(Buffer.from([0xff, 0xfe, 0, 1]))).toThrow('neither text nor UBJSON');
});
