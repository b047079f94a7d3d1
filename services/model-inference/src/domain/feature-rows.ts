import { MeshError } from '@millrace/kernel';
import { elementsOf, type Tensor, type TensorData, type TensorSpec } from './tensor.ts';

interface FeatureInput extends TensorSpec {
  /** Of a row: the shape without its rows. */
  readonly rowShape: readonly number[];
  /** Where its values stand in a row of features. */
  readonly from: number;
  readonly width: number;
}

/** A model's inputs as rows of numbers: the values of all inputs, one after another. */
export interface FeatureLayout {
  readonly inputs: readonly FeatureInput[];
  readonly width: number;
}

const featuresMax = 10_000;

/** Of tensors that the model has taken; every row has all dimensions but the first. UNSUPPORTED for text. */
export function layoutOfTensors(model: string, specs: readonly TensorSpec[], given: ReadonlyMap<string, Tensor>) {
  return layoutOf(model, specs, (spec) => given.get(spec.name)?.shape.slice(1) ?? []);
}

/** Of rows of so many values. WRONG_TENSOR_SHAPE when the model's inputs do not take them. */
export function layoutOfWidth(model: string, specs: readonly TensorSpec[], width: number): FeatureLayout {
  const [only] = specs;
  const isOpen = specs.length === 1 && only?.shape.length === 2 && only.shape[1] === -1;
  const layout = layoutOf(model, specs, (spec) => (isOpen ? [width] : spec.shape.slice(1)));
  const open = layout.inputs.find(({ rowShape }) => rowShape.some((size) => size < 0));
  if (open)
    throw new MeshError(
      'WRONG_TENSOR_SHAPE',
      `input "${open.name}" of model "${model}" has shape [${open.shape}]: a row of values says too little; send tensors`,
      { model, input: open.name },
    );
  if (layout.width === width) return layout;
  throw new MeshError(
    'WRONG_TENSOR_SHAPE',
    `a row has ${width} values and the inputs of model "${model}" take ${layout.width}; give one of each feature, NaN for a missing one`,
    { model, values: width, features: layout.width },
  );
}

function layoutOf(
  model: string,
  specs: readonly TensorSpec[],
  rowShapeOf: (spec: TensorSpec) => readonly number[],
): FeatureLayout {
  let width = 0;
  const inputs = specs.map((spec): FeatureInput => {
    if (spec.datatype === 'BYTES')
      throw new MeshError(
        'UNSUPPORTED',
        `input "${spec.name}" of model "${model}" is text, which has no attributions; explain the model behind its encoder`,
        { model, input: spec.name },
      );
    const rowShape = rowShapeOf(spec);
    const from = width;
    width += elementsOf(rowShape);
    return { ...spec, rowShape, from, width: width - from };
  });
  if (width > featuresMax)
    throw new MeshError('LIMIT_EXCEEDED', `a row of model "${model}" has ${width} values, over ${featuresMax}`, {
      model,
      features: width,
    });
  return { inputs, width };
}

/** Row-major [rows, width], in float64. */
export function rowsOfTensors(layout: FeatureLayout, tensors: ReadonlyMap<string, Tensor>, rows: number): Float64Array {
  const values = new Float64Array(rows * layout.width);
  for (const { name, from, width } of layout.inputs) {
    const data = numbersOf(tensors.get(name));
    for (let row = 0; row < rows; row++)
      for (let at = 0; at < width; at++)
        values[row * layout.width + from + at] = Number(data[row * width + at] ?? Number.NaN);
  }
  return values;
}

/** What a tensor's data says, FP16 as numbers. */
export function numbersOf(tensor: Tensor | undefined): ArrayLike<number | bigint> {
  if (!tensor) return [];
  if (tensor.datatype === 'FP16') return new Float16Array((tensor.data as Uint16Array).slice().buffer);
  return tensor.data as Float32Array;
}

/** The tensors of row-major rows. */
export function tensorsOfRows(layout: FeatureLayout, values: Float64Array, rows: number): Map<string, Tensor> {
  return new Map(
    layout.inputs.map(({ name, datatype, rowShape, from, width }) => {
      const data = emptyData(datatype, rows * width);
      for (let row = 0; row < rows; row++)
        for (let at = 0; at < width; at++)
          setNumber(data, row * width + at, values[row * layout.width + from + at] ?? Number.NaN);
      const bits = data instanceof Float16Array ? new Uint16Array(data.buffer) : data;
      return [name, { datatype, shape: [rows, ...rowShape], data: bits as TensorData }] as const;
    }),
  );
}

type NumericData = Exclude<TensorData, readonly string[]> | Float16Array;

function emptyData(datatype: TensorSpec['datatype'], count: number): NumericData {
  switch (datatype) {
    case 'BOOL':
    case 'UINT8':
      return new Uint8Array(count);
    case 'INT8':
      return new Int8Array(count);
    case 'UINT16':
      return new Uint16Array(count);
    case 'INT16':
      return new Int16Array(count);
    case 'UINT32':
      return new Uint32Array(count);
    case 'INT32':
      return new Int32Array(count);
    case 'UINT64':
      return new BigUint64Array(count);
    case 'INT64':
      return new BigInt64Array(count);
    case 'FP16':
      return new Float16Array(count);
    case 'FP64':
      return new Float64Array(count);
    default:
      return new Float32Array(count);
  }
}

/** Integers have no NaN: it is 0, as typed arrays have it. */
function setNumber(data: NumericData, at: number, value: number): void {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array)
    data[at] = Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n;
  else data[at] = value;
}

/** A name for each value of a row: those that are known when there are as many, else the input's with its place. */
export function featureNames(layout: FeatureLayout, ...known: readonly (readonly string[])[]): readonly string[] {
  const named = known.find(({ length }) => length === layout.width && length > 0);
  if (named) return named;
  return layout.inputs.flatMap(({ name, width }) =>
    width === 1 ? [name] : Array.from({ length: width }, (_, at) => `${name}[${at}]`),
  );
}
