import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { oip } from '@millrace/contracts';
import { model } from '@millrace/sdk';
import { onnxDir } from './inference-world.ts';

/** The modules of test/fixtures/custom, registered. No file here is a test. */
export const customDir = join(import.meta.dirname, '..', 'fixtures', 'custom');

const sha256Of = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

type Options = Partial<Parameters<typeof model>[1]>;

export function customModel(name: string, file: string, options: Options = {}) {
  const sha256 = sha256Of(join(customDir, file));
  return model(name, { owner: 'tests', format: 'custom', uri: file, sha256, ...options });
}

export const sentiment = (name: string, options: Options = {}) =>
  customModel(name, 'sentiment.ts', {
    custom: {
      parameters: { threshold: '0.5' },
      files: { weights: { uri: 'weights.json', sha256: sha256Of(join(customDir, 'weights.json')) } },
    },
    ...options,
  });

/** Limits that tests can wait for. */
export const moody = (name: string, predictTimeout = '800ms') =>
  customModel(name, 'moody.ts', { custom: { memoryMib: 64, predictTimeout, loadTimeout: '20s' } });

const { coefficients, intercept } = (
  JSON.parse(readFileSync(join(onnxDir, 'expected.json'), 'utf8')) as {
    readonly logistic: { readonly coefficients: readonly number[]; readonly intercept: number };
  }
).logistic;

const vector = {
  input: { name: 'X', columns: [{ request: 'delay' }, { request: 'wind' }] },
  output: { name: 'probabilities', column: 1 },
} as const;

/** The logistic regression as ONNX, and the same in JavaScript. */
export function logisticOnnx(name: string) {
  const path = join(onnxDir, 'logistic.onnx');
  return model(name, { owner: 'tests', uri: pathToFileURL(path).href, sha256: sha256Of(path), ...vector });
}

export const logisticCustom = (name: string, shift = 0) =>
  customModel(name, 'logistic.mjs', {
    ...vector,
    custom: { parameters: { coefficients: JSON.stringify(coefficients), intercept: String(intercept + shift) } },
  });

export function texts(modelName: string, name: string, values: readonly string[], columns: readonly number[] = []) {
  return {
    modelName,
    modelVersion: '',
    id: '',
    parameters: new Map(),
    inputs: [
      {
        name,
        datatype: 'BYTES',
        shape: [values.length, ...columns].map(BigInt),
        parameters: new Map(),
        contents: { ...noContents, bytesContents: values.map((value) => Buffer.from(value)) },
      },
    ],
    outputs: [],
    rawInputContents: [],
  } satisfies oip.ModelInferRequest;
}

export function floats(modelName: string, name: string, rows: readonly (readonly number[])[]) {
  return {
    modelName,
    modelVersion: '',
    id: '',
    parameters: new Map(),
    inputs: [
      {
        name,
        datatype: 'FP32',
        shape: [BigInt(rows.length), BigInt(rows[0]?.length ?? 0)],
        parameters: new Map(),
        contents: { ...noContents, fp32Contents: rows.flat() },
      },
    ],
    outputs: [],
    rawInputContents: [],
  } satisfies oip.ModelInferRequest;
}

const noContents: oip.InferTensorContents = {
  boolContents: [],
  intContents: [],
  int64Contents: [],
  uintContents: [],
  uint64Contents: [],
  fp32Contents: [],
  fp64Contents: [],
  bytesContents: [],
};

export function textsOf(answer: oip.ModelInferResponse, at = 0): string[] {
  return answer.outputs[at]?.contents?.bytesContents.map((bytes) => bytes.toString()) ?? [];
}
