import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readModel } from '../model.ts';
import { writeModel } from '../write-model.ts';
import { quantizeOrt } from './ort.ts';

const folder = join(import.meta.dirname, '..', 'fixtures', 'quantize');
const fixture = (name: string) => readFileSync(join(folder, name));
const { cases } = JSON.parse(fixture('cases.json').toString()) as {
  readonly cases: readonly {
    readonly name: string;
    readonly options: {
      readonly per_channel?: boolean;
      readonly reduce_range?: boolean;
      readonly nodes_to_exclude?: string[];
    };
    readonly quantized: string;
    readonly inferred: boolean;
  }[];
};

test.each(cases.map((one) => [one.quantized, one] as const))(
  '%s is what onnxruntime writes, byte for byte',
  (_, one) => {
    const {
      per_channel: perChannel = false,
      reduce_range: reduceRange = false,
      nodes_to_exclude: exclude = [],
    } = one.options;
    const given = quantizeOrt(fixture(`${one.name}.onnx`), { perChannel, reduceRange, exclude });
    const wanted = fixture(one.quantized);
    // shapes that were not in the file are inferred by onnx, which is not rebuilt here
    const bare = (bytes: Uint8Array) => {
      const model = readModel(bytes);
      return writeModel(model, { graph: { ...model.graph, valueInfos: [] } });
    };
    const [ours, theirs] = one.inferred ? [given, wanted] : [bare(given), bare(wanted)];
    expect(readModel(ours).graph.nodes.map(({ opType, name }) => `${opType} ${name}`)).toEqual(
      readModel(theirs).graph.nodes.map(({ opType, name }) => `${opType} ${name}`),
    );
    expect(Buffer.compare(ours, theirs)).toBe(0);
  },
);

test('the cases cover both forms of Gemm, every option and every operator', () => {
  expect(cases.length).toBeGreaterThanOrEqual(25);
});
