import { makeNode, type OnnxNode } from '../model.ts';
import { dataType, modelField } from '../schema.ts';
import { rawTensor } from '../tensor.ts';
import { tensorValue } from '../values.ts';
import { delimited, varintField } from '../wire.ts';
import { writeGraph } from '../write-model.ts';

/**
 * X [N, widths[0]] → dense layers with Relu between them → Y: weights of a fixed sequence, scaled so that values keep their size.
 *
 * @param loud a layer one of whose units is a thousand times as large as the others, which the next layer weighs down again: INT8
 *   activations of the next layer keep little of the others
 */
export function denseModel({
  widths,
  opset,
  loud = 0,
}: {
  readonly widths: readonly number[];
  readonly opset: number;
  readonly loud?: number;
}): Uint8Array {
  const random = sequence();
  const initializers = [];
  const nodes: OnnxNode[] = [];
  const layers = widths.length - 1;
  for (let layer = 1; layer <= layers; layer++) {
    const from = widths[layer - 1] ?? 1;
    const to = widths[layer] ?? 1;
    const weights = Float32Array.from({ length: from * to }, () => random() * Math.sqrt(6 / from));
    if (layer === loud) for (let row = 0; row < from; row++) weights[row * to] = 1_000 * (weights[row * to] ?? 0);
    if (layer === loud + 1 && loud > 0)
      for (let column = 0; column < to; column++) weights[column] = (weights[column] ?? 0) / 1_000;
    initializers.push(rawTensor(`W${layer}`, dataType.float, [from, to], weights));
    initializers.push(
      rawTensor(
        `b${layer}`,
        dataType.float,
        [to],
        Float32Array.from({ length: to }, () => random() * 0.1),
      ),
    );
    const last = layer === layers;
    const input = layer === 1 ? 'X' : `r${layer - 1}`;
    const output = last ? 'Y' : `h${layer}`;
    nodes.push(
      makeNode({ opType: 'Gemm', inputs: [input, `W${layer}`, `b${layer}`], outputs: [output], name: `dense${layer}` }),
    );
    if (!last) nodes.push(makeNode({ opType: 'Relu', inputs: [output], outputs: [`r${layer}`], name: `relu${layer}` }));
  }
  const graph = writeGraph({
    nodes,
    initializers,
    inputs: [tensorValue('X', dataType.float, ['N', widths[0] ?? 1])],
    outputs: [tensorValue('Y', dataType.float, ['N', widths.at(-1) ?? 1])],
    valueInfos: [],
    rest: [],
  });
  return Buffer.concat([
    varintField(modelField.irVersion, 8),
    delimited(modelField.graph, graph),
    delimited(modelField.opsetImport, varintField(2, opset)),
  ]);
}

/** Numbers of −1 to 1, always the same (a linear congruential generator). */
function sequence(): () => number {
  let state = 12_345;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return (state / 2 ** 31) * 2 - 1;
  };
}
