import { expect, test } from 'vitest';
import {
  chosenVersions,
  isModelName,
  loadOverrides,
  missingVersions,
  modelFileOf,
  versionOf,
} from './repository-layout.ts';
import { configOfText } from './triton/read-config.ts';

const policy = (text: string) => configOfText(`version_policy { ${text} }`).versionPolicy;

test('versions are chosen as Triton does', () => {
  expect(chosenVersions(undefined, [9, 10, 2])).toEqual([10]);
  expect(chosenVersions(policy('latest { num_versions: 2 }'), [9, 10, 2])).toEqual([9, 10]);
  expect(chosenVersions(policy('latest { }'), [9, 10, 2])).toEqual([10]);
  expect(chosenVersions(policy('all { }'), [9, 10, 2])).toEqual([2, 9, 10]);
  expect(chosenVersions(policy('specific { versions: [ 2, 3 ] }'), [9, 10, 2])).toEqual([2]);
  expect(missingVersions(policy('specific { versions: [ 2, 3 ] }'), [9, 10, 2])).toEqual([3n]);
});

test('folders that are no versions, and names that lead elsewhere, are none', () => {
  expect(['1', '12', '0', '01', '-1', '1.0', 'a', ''].map(versionOf)).toEqual([1, 12, ...new Array(6).fill(undefined)]);
  expect(['fraud', 'a.b-c_1', '..', '.git', 'a/b', '', 'a'.repeat(129)].map(isModelName)).toEqual([
    true,
    true,
    ...new Array(5).fill(false),
  ]);
});

test('the file is the one that is named, or the only one of the usual names', () => {
  const version = (...files: readonly string[]) => ({ version: 1, dir: '/x', files });
  expect(modelFileOf('m', version('model.onnx', 'notes'), '')).toEqual({ file: 'model.onnx', format: 'onnx' });
  expect(modelFileOf('m', version('net.ubj'), 'net.ubj').format).toBe('xgboost');
  expect(modelFileOf('m', version('model.txt'), '').format).toBe('lightgbm');
  expect(() => modelFileOf('m', version('model.onnx', 'model.txt'), '')).toThrow(
    'has model.onnx and model.txt; say which one',
  );
  expect(() => modelFileOf('m', version('a'), '')).toThrow(
    'no model.onnx, no model.json, no model.ubj, no model.txt; it has a'.slice(3),
  );
  expect(() => modelFileOf('m', version('model.plan'), 'model.plan')).toThrow(
    '"model.plan" ends in none of onnx, json, ubj, txt',
  );
  expect(() => modelFileOf('m', version('a'), '../../x')).toThrow('is a path');
});

test('parameters of a load are a configuration and files, and nothing else', () => {
  const bytes = new Uint8Array([1]);
  expect(loadOverrides(new Map())).toBeUndefined();
  expect(
    loadOverrides(
      new Map<string, unknown>([
        ['config', '{}'],
        ['file:1/model.onnx', bytes],
      ]),
    ),
  ).toEqual({
    config: '{}',
    files: new Map([['1/model.onnx', bytes]]),
  });
  for (const name of ['file:model.onnx', 'file:1/../x', 'file:1/a/b', 'file:/etc/passwd', 'file:0/a'])
    expect(
      () =>
        loadOverrides(
          new Map<string, unknown>([
            ['config', '{}'],
            [name, bytes],
          ]),
        ),
      name,
    ).toThrow(`parameter "${name}"`);
  expect(() => loadOverrides(new Map([['file:1/a', bytes]]))).toThrow('files need a configuration');
});
