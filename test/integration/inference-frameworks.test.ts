import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { oip } from '@millrace/contracts';
import { model } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  fp32,
  type InferenceWorld,
  inferRequest,
  onnxDir,
  onnxModel,
  openInferenceWorld,
  type TestInput,
} from './inference-world.ts';

/** Models as the frameworks' exporters write them, served over the wire, against what the frameworks answered themselves. */
const folder = join(onnxDir, 'frameworks');
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.onnx'))
  .map((file) => file.slice(0, -'.onnx'.length))
  .sort();

interface Golden {
  readonly datatype: 'FP32' | 'INT64' | 'BYTES';
  readonly shape: readonly number[];
  readonly data: readonly (number | string | null)[];
}
interface Goldens {
  readonly inputs: Readonly<Record<string, Golden>>;
  readonly outputs: Readonly<Record<string, Golden>>;
}
const goldensOf = (name: string) => JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Goldens;

let world: InferenceWorld;
const scratch = mkdtempSync(join(tmpdir(), 'millrace-models-'));

beforeAll(async () => {
  world = await openInferenceWorld();
  await world.apply(...names.map((name) => onnxModel(name, { file: `frameworks/${name}` })));
  await world.allReady(...names);
}, 180_000);

afterAll(async () => {
  await world?.close();
  rmSync(scratch, { recursive: true });
});

test('every framework has a model here', () => {
  for (const framework of ['sklearn', 'xgboost', 'lightgbm', 'torch-torchscript', 'torch-dynamo', 'tensorflow'])
    expect(names.some((name) => name.startsWith(framework))).toBe(true);
});

test.each(names)('%s answers what its framework answers', async (name) => {
  const { inputs, outputs } = goldensOf(name);
  const asked = Object.keys(outputs);
  expect(asked.length).toBeGreaterThan(0);
  const given = Object.entries(inputs).map(([input, golden]) => toInput(input, golden));
  const answer = await world.oip.modelInfer(inferRequest(name, given, asked));
  for (const [at, output] of answer.outputs.entries()) {
    const golden = outputs[asked[at] ?? ''];
    expect(output.name).toBe(asked[at]);
    expect({ output: output.name, values: valuesOf(output.contents).length }).toEqual({
      output: output.name,
      values: golden?.data.length,
    });
    expect(output.shape.map(Number)).toEqual(golden?.shape);
    for (const [index, value] of valuesOf(output.contents).entries()) {
      const wanted = golden?.data[index];
      if (typeof wanted === 'number' && golden?.datatype === 'FP32')
        expect(Math.abs(Number(value) - wanted)).toBeLessThanOrEqual(1e-5 * Math.max(1, Math.abs(wanted)));
      else expect(value).toBe(wanted);
    }
  }
  expect(answer.outputs.length).toBe(asked.length);
});

test('what wrote a model is in its metadata', async () => {
  const producerOf = async (name: string) => {
    const { parameters } = await world.oip.modelMetadata({ name, version: '' });
    return ['producer', 'producer_version', 'opset'].map((key) => parameters.get(key)?.parameterChoice?.value);
  };
  const version = expect.stringMatching(/^\d+\.\d+/);
  expect(await producerOf('sklearn-forest')).toEqual(['skl2onnx', version, expect.stringContaining('ai.onnx.ml')]);
  expect(await producerOf('torch-dynamo')).toEqual(['pytorch', version, expect.stringContaining('ai.onnx 18')]);
  expect(await producerOf('tensorflow')).toEqual(['tf2onnx', version, expect.stringContaining('ai.onnx 17')]);
});

test('damaged and malicious files are refused with the reason, and the other models answer on', async () => {
  const whole = readFileSync(join(folder, 'xgboost-classifier.onnx'));
  const files = {
    'cut-model': whole.subarray(0, whole.length / 2),
    'huge-length': Buffer.concat([whole.subarray(0, 8), Buffer.from([0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f])]),
    'tiny-fields': Buffer.alloc(4_000_000, Buffer.from([0x08, 0x01])),
    'deep-graphs': readFileSync(join(onnxDir, '..', '..', '..', 'libs', 'onnx', 'src', 'fixtures', 'nested.onnx')),
    'map-input': readFileSync(join(onnxDir, '..', '..', '..', 'libs', 'onnx', 'src', 'fixtures', 'map-input.onnx')),
    'no-model': Buffer.from('<html>404</html>'),
  };
  await world.apply(
    ...Object.entries(files).map(([name, bytes]) => {
      const path = join(scratch, `${name}.onnx`);
      writeFileSync(path, bytes);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      return model(name, { owner: 'tests', uri: pathToFileURL(path).href, sha256 });
    }),
  );
  const reasonOf = async (name: string) => {
    const request = inferRequest(name, [fp32('input', [[1, 2, 3, 4]])]);
    return world.oip.modelInfer(request).then(
      () => 'answered',
      (error: Error) => error.message,
    );
  };
  for (const [name, message] of [
    ['cut-model', 'the ONNX file is damaged'],
    ['huge-length', 'a field runs past its end'],
    ['tiny-fields', 'has more than 1000000 fields'],
    ['deep-graphs', 'nested deeper than 16'],
    ['map-input', 'only tensors are served'],
    ['no-model', 'the ONNX file is damaged'],
  ] as const)
    expect(await eventually(async () => (await reasonOf(name)).includes(message) && name, { timeoutMs: 20_000 })).toBe(
      name,
    );
  expect((await world.oip.modelReady({ name: 'sklearn-forest', version: '' })).ready).toBe(true);
});

function toInput(name: string, { datatype, shape, data }: Golden): TestInput {
  const numbers = data.map((value) => (value === null ? Number.NaN : Number(value)));
  const contents =
    datatype === 'FP32'
      ? { fp32Contents: numbers }
      : datatype === 'INT64'
        ? { int64Contents: numbers.map(BigInt) }
        : { bytesContents: data.map((value) => Buffer.from(String(value))) };
  return { name, datatype, shape, contents };
}

function valuesOf(contents: oip.InferTensorContents | undefined): readonly (number | string)[] {
  if (!contents) return [];
  return [
    ...contents.fp32Contents,
    ...contents.int64Contents.map(Number),
    ...contents.bytesContents.map((bytes) => Buffer.from(bytes).toString()),
  ];
}
