import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { denseModel } from '@millrace/onnx/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';

/** `millrace model`: no mesh is needed. */
const root = join(import.meta.dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'millrace-quantize-'));
const at = (name: string) => join(folder, name);
const width = 128;

beforeAll(() => {
  writeFileSync(at('model.onnx'), denseModel({ widths: [width, 512, 256, 2], opset: 17 }));
  writeFileSync(at('loud.onnx'), denseModel({ widths: [width, 512, 512, 256, 2], opset: 17, loud: 1 }));
  const line = (row: number) =>
    JSON.stringify({ X: Array.from({ length: width }, (_, column) => Math.sin(row * 7.13 + column * 1.7)) });
  const lines = Array.from({ length: 4_000 }, (_, row) => line(row));
  writeFileSync(at('rows.jsonl'), lines.join('\n'));
  writeFileSync(at('few.jsonl'), lines.slice(0, 100).join('\n'));
  const [first = ''] = lines;
  const { X } = JSON.parse(first) as { X: number[] };
  const request = JSON.stringify({ inputs: [{ name: 'X', shape: [2, width], datatype: 'FP32', data: [...X, ...X] }] });
  writeFileSync(at('requests.jsonl'), Array.from({ length: 300 }, () => request).join('\n'));
});

afterAll(() => rmSync(folder, { recursive: true }));

function millrace(...args: readonly string[]) {
  return new Promise<{ readonly code: number; readonly out: string; readonly err: string }>((resolve) => {
    execFile(process.execPath, [join(root, 'libs/sdk/bin/millrace.mjs'), ...args], (error, out, err) =>
      resolve({ code: Number(error?.code ?? 0), out, err }),
    );
  });
}

const quantize = (...args: readonly string[]) => millrace('--json', 'model', 'quantize', at('model.onnx'), ...args);

test('row-wise INT8 passes, is a third of the size or less, and no answer depends on its batch', async () => {
  const { code, out } = await quantize('--samples', at('rows.jsonl'), '--out', at('small.onnx'));
  const report = JSON.parse(out);
  expect(report).toMatchObject({
    form: 'rowwise',
    rows: 4_000,
    passed: true,
    problems: [],
    batchVariance: { quantized: 0 },
    layers: [
      { node: 'dense1', decision: 'quantized' },
      { node: 'dense2', decision: 'quantized' },
      { node: 'dense3', decision: 'small' },
    ],
  });
  expect(code).toBe(0);
  expect(report.sizeRatio).toBeLessThan(0.3);
  expect(report.outputs[0].sqnrDb).toBeGreaterThan(25);
  expect(report.outputs[0].agreement.lowerBound).toBeGreaterThan(0.995);
  expect(report.quantizedBytes).toBe(readFileSync(at('small.onnx')).length);
  expect(JSON.parse(readFileSync(at('small.onnx.quantization.json'), 'utf8')).passed).toBe(true);
});

test('requests of the protocol are samples, and the form of onnxruntime says that it is not batched', async () => {
  const { code, out } = await quantize('--form', 'ort', '--samples', at('requests.jsonl'), '--out', at('ort.onnx'));
  expect(JSON.parse(out)).toMatchObject({ form: 'ort', rows: 600, passed: true });
  expect(code).toBe(0);
  const { out: facts } = await millrace('--json', 'model', 'inspect', at('ort.onnx'));
  expect(JSON.parse(facts)).toMatchObject({ producer: 'onnx.quantize', batching: { t: 'unsafe' } });
});

test('float16 storage is half the size', async () => {
  const { code, out } = await quantize('--form', 'fp16', '--samples', at('rows.jsonl'), '--out', at('half.onnx'));
  const report = JSON.parse(out);
  expect(code).toBe(0);
  expect(report.sizeRatio).toBeLessThan(0.51);
  expect(report.outputs[0].sqnrDb).toBeGreaterThan(50);
});

test('layers that cost too much accuracy are found by measuring each, and stay as they are', async () => {
  const loud = (...args: readonly string[]) =>
    millrace('--json', 'model', 'quantize', at('loud.onnx'), '--samples', at('rows.jsonl'), ...args);
  const { code, out } = await loud('--out', at('refused-loud.onnx'));
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject({
    passed: false,
    problems: expect.arrayContaining([expect.stringMatching('5.1 dB .* exclude layers')]),
  });
  const { code: passed, out: text } = await loud('--out', at('loud-small.onnx'), '--auto-exclude');
  const report = JSON.parse(text);
  expect(report.layers.map(({ node, decision }: { node: string; decision: string }) => [node, decision])).toEqual([
    ['dense1', 'quantized'],
    ['dense2', 'excluded'],
    ['dense3', 'quantized'],
    ['dense4', 'small'],
  ]);
  const [first, second, third] = report.layers.map(({ sqnrDb }: { sqnrDb: number }) => sqnrDb);
  expect(second).toBeLessThan(25);
  expect(Math.min(first, third)).toBeGreaterThan(25);
  expect(passed).toBe(0);
}, 60_000);

test('a gate that fails ends with 1, says why and writes nothing', async () => {
  const { code, err, out } = await millrace(
    'model',
    'quantize',
    at('model.onnx'),
    '--samples',
    at('few.jsonl'),
    '--out',
    at('refused.onnx'),
  );
  expect(code).toBe(1);
  expect(err).toContain('refused, nothing written');
  expect(err).toContain('100 sample rows are fewer than 512');
  expect(out).toContain('dense1');
  expect(existsSync(at('refused.onnx'))).toBe(false);
});

test.each([
  [['--samples', 'nowhere.jsonl'], '"nowhere.jsonl" cannot be read'],
  [['--samples', 'model.onnx'], 'is not JSON'],
  [['--samples', 'rows.jsonl', '--exclude', 'nope'], 'the model has no node "nope" to exclude'],
  [['--samples', 'rows.jsonl', '--min-weights', '10000000'], 'nothing in'],
  [['--samples', 'rows.jsonl', '--auto-exclude', '--form', 'ort'], 'is for the form rowwise'],
])('%j is refused with what is wrong', async ([option = '', file = '', ...more], message) => {
  const path = file === 'nowhere.jsonl' ? file : at(file);
  const { code, out } = await quantize(option, path, '--out', at('never.onnx'), ...more);
  expect(code).toBe(1);
  expect(JSON.parse(out).error.message).toContain(message);
  expect(existsSync(at('never.onnx'))).toBe(false);
});
