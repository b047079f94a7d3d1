import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { model } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type OipWorld, openOipWorld } from './oip-world.ts';

/** Native files of XGBoost and LightGBM, served over the wire, against what the libraries answered themselves. */
const folder = join(import.meta.dirname, '..', '..', 'libs', 'trees', 'src', 'fixtures');
const files = readdirSync(folder).filter((file) => /^(xgboost|lightgbm)-\w+\.(json|ubj|txt)$/.test(file));

interface Expected {
  readonly rows: readonly (readonly (number | null)[])[];
  readonly predictions: readonly (readonly number[])[];
  readonly margins: readonly (readonly number[])[];
}
const expectedOf = (file: string) =>
  JSON.parse(readFileSync(join(folder, file.replace(/\.\w+$/, '.expected.json')), 'utf8')) as Expected;
const nameOf = (file: string) => file.replaceAll('.', '-');

function treeModel(file: string, name = nameOf(file), format?: 'onnx' | 'xgboost' | 'lightgbm') {
  const sha256 = createHash('sha256')
    .update(readFileSync(join(folder, file)))
    .digest('hex');
  const library = file.startsWith('xgboost') ? 'xgboost' : 'lightgbm';
  return model(name, { owner: 'tests', uri: file, sha256, format: format ?? library });
}

let world: OipWorld;

beforeAll(async () => {
  world = await openOipWorld({ MILLRACE_MODEL_DIR: folder }, []);
  await world.apply(...files.map((file) => treeModel(file)));
  await world.ready(...files.map(nameOf));
}, 120_000);

afterAll(() => world?.close());

function request(file: string, rows: Expected['rows']) {
  const values = rows.flat().map((value) => value ?? Number.NaN);
  const isFloat32 = file.startsWith('xgboost');
  const bytes = Buffer.from((isFloat32 ? Float32Array.from(values) : Float64Array.from(values)).buffer);
  const shape = [BigInt(rows.length), BigInt(rows[0]?.length ?? 0)];
  return {
    modelName: nameOf(file),
    modelVersion: '',
    id: '',
    parameters: new Map(),
    inputs: [
      { name: 'input', datatype: isFloat32 ? 'FP32' : 'FP64', shape, parameters: new Map(), contents: undefined },
    ],
    outputs: [],
    rawInputContents: [bytes],
  };
}

function numbersOf(file: string, bytes: Buffer | undefined): number[] {
  const { buffer } = Uint8Array.from(bytes ?? []);
  return [...(file.startsWith('xgboost') ? new Float32Array(buffer) : new Float64Array(buffer))];
}

test.each(files)('%s answers what its library answers, missing values too', async (file) => {
  const { rows, predictions, margins } = expectedOf(file);
  const answer = await world.oip.modelInfer(request(file, rows));
  expect(answer.outputs.map(({ name }) => name)).toEqual(['prediction', 'margin']);
  for (const [at, wanted] of [predictions, margins].entries()) {
    expect(answer.outputs[at]?.shape).toEqual([BigInt(rows.length), BigInt(wanted[0]?.length ?? 0)]);
    const given = numbersOf(file, answer.rawOutputContents[at]);
    expect(given.length).toBe(wanted.flat().length);
    for (const [place, value] of wanted.flat().entries())
      expect(Math.abs((given[place] ?? Number.NaN) - value)).toBeLessThanOrEqual(1e-5 * Math.max(1, Math.abs(value)));
  }
});

test('rows of many callers share runs and each has its own answer', async () => {
  const file = 'xgboost-categories.ubj';
  const { rows, predictions } = expectedOf(file);
  const answers = await Promise.all(rows.map((row) => world.oip.modelInfer(request(file, [row]))));
  expect(answers.map(({ rawOutputContents: [bytes] }) => numbersOf(file, bytes)[0])).toEqual(predictions.flat());
});

test('what it is stands in its metadata and its configuration', async () => {
  const metadata = await world.oip.modelMetadata({ name: 'xgboost-dart-ubj', version: '' });
  expect(metadata).toMatchObject({
    platform: 'xgboost',
    inputs: [{ name: 'input', datatype: 'FP32', shape: [-1n, 5n] }],
  });
  const parameters = Object.fromEntries(
    [...metadata.parameters].map(([key, value]) => [key, value.parameterChoice?.value]),
  );
  expect(parameters).toMatchObject({ producer: 'xgboost', producer_version: '3.2.0', 'metadata.trees': '4' });
  expect(parameters).not.toHaveProperty('ir_version');
  const { config } = await world.oip.modelConfig({ name: 'lightgbm-ova-txt', version: '' });
  expect(config).toMatchObject({ platform: 'lightgbm', backend: 'trees', defaultModelFilename: 'model.txt' });
});

test('a file of the other library, and one that is none, is refused with what to write', async () => {
  await world.apply(
    treeModel('lightgbm-ova.txt', 'mixed-up', 'xgboost'),
    treeModel('xgboost-dart.json', 'no-onnx', 'onnx'),
    treeModel('lightgbm-ova.expected.json', 'no-trees'),
  );
  const reasonOf = (name: string) =>
    world.oip.modelInfer({ ...request('xgboost-dart.json', [[1, 2, 3, 4, 5]]), modelName: name }).then(
      () => 'answered',
      (error: Error) => error.message,
    );
  for (const [name, message] of [
    ['mixed-up', 'its file is of lightgbm; write format: lightgbm'],
    ['no-onnx', 'the ONNX file is damaged'],
    ['no-trees', 'the LightGBM file is damaged'],
  ] as const)
    expect(await eventually(async () => (await reasonOf(name)).includes(message) && name)).toBe(name);
});
