import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { modelConfig } from '@millrace/contracts';
import { expect, test } from 'vitest';
import { configOfJson, configOfText } from './read-config.ts';

interface Case {
  readonly text: string;
  readonly refused?: string;
  readonly bytes: string;
  readonly json: unknown;
}
const cases: readonly Case[] = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures', 'configs.json'), 'utf8'));

test('texts are what the parser of protobuf makes of them, bytes for bytes, and so is its JSON', () => {
  const accepted = cases.filter(({ refused }) => refused === undefined);
  expect(accepted.length).toBeGreaterThan(120);
  for (const { text, bytes, json } of accepted) {
    const expected = modelConfig.ModelConfig.decode(Buffer.from(bytes, 'base64'));
    expect(configOfText(text), text).toEqual(expected);
    expect(configOfJson(JSON.stringify(json)), text).toEqual(expected);
  }
});

test('texts that the parser of protobuf refuses are refused, with line and column', () => {
  const refused = cases.filter((one) => one.refused !== undefined);
  expect(refused.length).toBeGreaterThan(25);
  for (const { text } of refused)
    expect(() => configOfText(text), text).toThrow(/^configuration, line \d+, column \d+: /);
});

test.each([
  [
    'max_batch_size: 8\n  inputs { }',
    'line 2, column 3: ModelConfig has no field "inputs"; its fields: name, platform,',
  ],
  [
    'input {\n name: "a"\n datatype: TYPE_FP32 }',
    'line 3, column 2: ModelInput has no field "datatype"; its fields: name, data_type, dims',
  ],
  [
    'instance_group [ { kind: KIND_CPU, gpus: [0] } ]',
    'line 1, column 36: "gpus" is not supported: models run on the CPU',
  ],
  ['input { reshape { shape: [ ] } }', 'line 1, column 9: "reshape" is not supported: tensors have the shape'],
  ['ensemble_scheduling { step [] }', '"ensemble_scheduling" is not supported: models are not composed here'],
  ['input { optional: true }', '"optional" is not supported: every input must be given'],
  ['model_transaction_policy { decoupled: true }', '"decoupled" is not supported: each request has one answer'],
  ['input { data_type: TYPE_FP8 }', '"data_type" cannot be "TYPE_FP8"; it takes TYPE_INVALID, TYPE_BOOL'],
])('%s: refused with where, what and what there is', (text, message) => {
  expect(() => configOfText(text)).toThrow(message);
});

test('as its specification has it: a sign may stand apart, and other escapes are none', () => {
  expect(configOfText('max_batch_size: - 5').maxBatchSize).toBe(-5);
  expect(configOfText('name: "\\?"').name).toBe('?');
  expect(() => configOfText('name: "\\q"')).toThrow('"\\q" is not an escape');
});

test('what asks for nothing that is not served is taken', () => {
  const text = `input { name: "a" optional: false format: FORMAT_NONE } model_transaction_policy { decoupled: false }
    dynamic_batching { preserve_ordering: false }`;
  expect(configOfText(text).input).toMatchObject([{ name: 'a' }]);
});

test('JSON is refused with its path', () => {
  expect(() => configOfJson('{"input": [{"dims": ["4", 1.5]}]}')).toThrow(
    'input[0].dims[1]: "dims" takes a whole number, and "1.5" is given',
  );
  expect(() => configOfJson('{"instance_group": [{"gpus": [0]}]}')).toThrow(
    'instance_group[0].gpus[0]: "gpus" is not supported',
  );
  expect(() => configOfJson('{"input": [[1]]}')).toThrow('input[0]: a list in a list');
  expect(() => configOfJson('[]')).toThrow('it is JSON and not an object');
  expect(() => configOfJson('{')).toThrow('configuration: it is not JSON');
  expect(() => configOfJson('{"__proto__": 1, "constructor": {}}')).toThrow('has no field');
});

test('a file that is nested deeply, or long, is refused or read without harm', () => {
  expect(() => configOfText('input { '.repeat(100_000))).toThrow(/has no field|nested deeper/);
  expect(() => configOfJson(`${'{"parameters":'.repeat(200)}1${'}'.repeat(200)}`)).toThrow(
    /nested deeper|has no field/,
  );
  const long = Array.from({ length: 20_000 }, (_, at) => `# ${at}\ninput { name: "i${at}" dims: [ 1, ${at} ] }`).join(
    '\n',
  );
  expect(configOfText(long).input).toHaveLength(20_000);
});
