import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readGolden } from './golden-file.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-golden-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function read(text: string, sha256 = createHash('sha256').update(text).digest('hex')) {
  writeFileSync(join(dir, 'golden.jsonl'), text);
  return readGolden(dir, 'fraud', { uri: 'golden.jsonl', sha256 });
}

const input = { name: 'X', shape: [2, 2], datatype: 'FP32', data: [1, 2, 3, null] };

test('a line is a request of REST with its outputs, nested or flat, and tolerances of the output before those of the line', async () => {
  const lines = [
    {
      id: 'first',
      parameters: { atol: 0.5, note: 'of others' },
      inputs: [input, { name: 'n', shape: [2], datatype: 'INT64', data: [7, 9] }],
      outputs: [
        {
          name: 'p',
          shape: [2, 2],
          datatype: 'FP32',
          data: [
            [1, 2],
            [3, null],
          ],
        },
        { name: 'label', data: [0, 1], parameters: { atol: 0, rtol: 0.1 } },
      ],
    },
    { inputs: [input], outputs: [{ name: 'p', data: ['a', true] }] },
  ];
  const [first, second, ...more] = await read(`${lines.map((line) => JSON.stringify(line)).join('\n\n')}\n`);
  expect(more).toEqual([]);
  expect(first?.label).toBe('request "first" (line 1)');
  expect(first?.inputs.get('X')).toEqual({
    datatype: 'FP32',
    shape: [2, 2],
    data: Float32Array.of(1, 2, 3, Number.NaN),
  });
  expect(first?.inputs.get('n')?.data).toEqual(BigInt64Array.of(7n, 9n));
  expect(first?.outputs).toEqual([
    { name: 'p', shape: [2, 2], values: [1, 2, 3, null], atol: 0.5, rtol: undefined },
    { name: 'label', shape: undefined, values: [0, 1], atol: 0, rtol: 0.1 },
  ]);
  expect(second).toMatchObject({ label: 'the request of line 3', outputs: [{ values: ['a', true] }] });
});

test('integers beyond 2⁵³ stay what they are', async () => {
  const [only] = await read(
    '{"inputs":[{"name":"n","shape":[1],"datatype":"INT64","data":[9007199254740993]}],"outputs":[{"name":"m","data":[9007199254740993]}]}',
  );
  expect(only?.inputs.get('n')?.data).toEqual(BigInt64Array.of(9_007_199_254_740_993n));
  expect(only?.outputs[0]?.values).toEqual([9_007_199_254_740_993n]);
});

const good = JSON.stringify({ inputs: [input], outputs: [{ name: 'p', data: [1] }] });

test.each([
  ['{', 'line 2 of golden file "golden.jsonl" is not JSON'],
  ['[]', 'line 2 of golden file "golden.jsonl" is no request with its outputs'],
  [JSON.stringify({ inputs: [input] }), 'outputs: Invalid input'],
  [JSON.stringify({ inputs: [input], outputs: [] }), 'outputs: Too small'],
  [JSON.stringify({ inputs: [{ ...input, shape: [3] }], outputs: [{ name: 'p', data: [1] }] }), 'its data has 4'],
  [JSON.stringify({ inputs: [{ ...input, datatype: 'FLOAT' }], outputs: [{ name: 'p', data: [1] }] }), '"FLOAT"'],
  [
    JSON.stringify({ inputs: [input], outputs: [{ name: 'p', shape: [2], data: [1] }] }),
    'has shape [2] and 1 elements',
  ],
  [JSON.stringify({ inputs: [input], outputs: [{ name: 'p', data: [{}] }] }), 'element 0 is neither number'],
  [JSON.stringify({ inputs: [input], outputs: [{ name: 'p', data: [1], parameters: { atol: -1 } }] }), 'atol'],
  [`"${'x'.repeat(2 ** 20)}"`, `has ${2 ** 20 + 2} bytes, and ${2 ** 20} are the most`],
])('a line that cannot be taken is named: %.30s', async (second, message) => {
  await expect(read(`${good}\n${second}`)).rejects.toMatchObject({
    reason: 'MODEL_LOAD_FAILED',
    message: expect.stringContaining(message),
  });
});

test('a file that is empty, another one than was registered, elsewhere or nowhere is refused', async () => {
  const of = (uri: string) => readGolden(dir, 'fraud', { uri, sha256: 'ab'.repeat(32) });
  await expect(read('\n')).rejects.toThrow('golden file "golden.jsonl" has no request');
  await expect(read(good, 'ab'.repeat(32))).rejects.toThrow(/has SHA-256 [0-9a-f]{64}, not abab/);
  await expect(of('absent.jsonl')).rejects.toThrow('"absent.jsonl" is not in the model repository');
  await expect(of('../golden.jsonl')).rejects.toThrow('leads out of the model repository');
});

test('the event loop goes on while a large file is read', async () => {
  const text = `${good}\n`.repeat(9_000);
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const requests = await read(text);
  clearInterval(timer);
  expect(requests.length).toBe(9_000);
  expect(turns).toBeGreaterThan(5);
});
