/** The bytes of an ONNX model: dense layers with ReLU between them, weights from a fixed sequence. Input `x` [N, first], output `y` [N, last]. */
export function mlpOnnx(widths: readonly number[]): Buffer {
  const layers = widths
    .slice(1)
    .map((out, at) => ({ at, from: widths[at] ?? 0, to: out, isLast: at === widths.length - 2 }));
  const nodes = layers.flatMap(({ at, isLast }) => {
    const input = at === 0 ? 'x' : `a${at}`;
    const gemm = node('Gemm', [input, `w${at}`, `b${at}`], isLast ? 'y' : `z${at}`);
    return isLast ? [gemm] : [gemm, node('Relu', [`z${at}`], `a${at + 1}`)];
  });
  const weights = layers.flatMap(({ at, from, to }) => [
    tensor(`w${at}`, [from, to], Math.sqrt(2 / from)),
    tensor(`b${at}`, [to], 0.01),
  ]);
  const graph = Buffer.concat([
    ...nodes.map((content) => bytes(1, content)),
    text(2, 'mlp'),
    ...weights.map((content) => bytes(5, content)),
    bytes(11, value('x', widths[0] ?? 0)),
    bytes(12, value('y', widths.at(-1) ?? 0)),
  ]);
  return Buffer.concat([integer(1, 9), bytes(7, graph), bytes(8, integer(2, 17))]);
}

function node(type: string, inputs: readonly string[], output: string): Buffer {
  return Buffer.concat([...inputs.map((name) => text(1, name)), text(2, output), text(3, output), text(4, type)]);
}

function tensor(name: string, dims: readonly number[], scale: number): Buffer {
  const count = dims.reduce((product, size) => product * size, 1);
  const values = Float32Array.from(
    { length: count },
    (_, at) => (((at * 2_654_435_761) % 2 ** 32) / 2 ** 31 - 1) * scale,
  );
  return Buffer.concat([
    ...dims.map((size) => integer(1, size)),
    integer(2, 1),
    text(8, name),
    bytes(9, Buffer.from(values.buffer)),
  ]);
}

function value(name: string, width: number): Buffer {
  const shape = Buffer.concat([bytes(1, text(2, 'N')), bytes(1, integer(1, width))]);
  return Buffer.concat([text(1, name), bytes(2, bytes(1, Buffer.concat([integer(1, 1), bytes(2, shape)])))]);
}

const text = (field: number, content: string) => bytes(field, Buffer.from(content));
const bytes = (field: number, content: Buffer) =>
  Buffer.concat([varint(field * 8 + 2), varint(content.length), content]);
const integer = (field: number, content: number) => Buffer.concat([varint(field * 8), varint(content)]);

function varint(content: number): Buffer {
  const out: number[] = [];
  let rest = content;
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128);
  return Buffer.from([...out, rest]);
}
