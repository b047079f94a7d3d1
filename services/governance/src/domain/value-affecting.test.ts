import { definitions } from '@millrace/contracts';
import { contentVersion } from '@millrace/kernel';
import { expect, test } from 'vitest';
import { valueAffecting } from './value-affecting.ts';

const base = definitions.Model.fromPartial({ uri: 'm.ts', sha256: 'ab', format: 'custom' } as never);
const versionOf = (model: definitions.Model) => contentVersion(valueAffecting({ $case: 'model', value: model }));
const custom = (parameters: Readonly<Record<string, string>>) => ({
  ...base,
  custom: definitions.CustomModel.fromPartial({ parameters: new Map(Object.entries(parameters)) } as never),
});

test('what a custom model is given makes its version, in whatever order it was written', () => {
  expect(versionOf(custom({ a: '1' }))).not.toBe(versionOf(custom({ a: '2' })));
  expect(versionOf(custom({ a: '1', b: '2' }))).toBe(versionOf(custom({ b: '2', a: '1' })));
});

test('a model that has none of the newer options keeps the version that it had before them', () => {
  const onnx = definitions.Model.fromPartial({ uri: 'm.onnx', sha256: 'ab', format: 'onnx' } as never);
  expect(versionOf(onnx)).toBe('883da8637525');
  expect(versionOf({ ...onnx, responseCacheTtlUs: 5n })).toBe('883da8637525');
  const profile = { uri: 'm.profile.json', sha256: 'cd' };
  expect(versionOf({ ...onnx, profile, segments: ['origin'] })).toBe('883da8637525');
});
