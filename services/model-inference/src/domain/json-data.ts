import { MeshError } from '@millrace/kernel';
import type { WireDatatype } from './raw-tensor.ts';
import { elementsOf, type Tensor, type TensorData } from './tensor.ts';

/** A tensor of JSON: flat or nested, row-major. In FP32 and FP64 null is NaN. */
export function fromJson(name: string, datatype: WireDatatype, shape: readonly number[], data: unknown): Tensor {
  if (!Array.isArray(data))
    throw new MeshError('MISSING_MODEL_INPUT', `input "${name}" has neither data nor binary data`, { input: name });
  if (datatype === 'FP16' || datatype === 'BF16')
    throw new MeshError('WRONG_TENSOR_TYPE', `input "${name}": ${datatype} cannot be JSON; send it as binary data`, {
      input: name,
    });
  const values = data.some(Array.isArray) ? (data.flat(Number.POSITIVE_INFINITY) as unknown[]) : data;
  const elements = elementsOf(shape);
  if (values.length !== elements)
    throw new MeshError(
      'WRONG_TENSOR_SHAPE',
      `input "${name}" has shape [${shape}], which is ${elements} elements, and its data has ${values.length}`,
      { input: name, expected: elements, given: values.length },
    );
  return { datatype, shape, data: dataOf(name, datatype, values) };
}

type JsonDatatype = Exclude<WireDatatype, 'FP16' | 'BF16'>;

const wholeRanges: Readonly<Record<string, readonly [bigint, bigint]>> = Object.fromEntries(
  [8, 16, 32, 64].flatMap((bits) => [
    [`INT${bits}`, [-(2n ** BigInt(bits - 1)), 2n ** BigInt(bits - 1) - 1n]],
    [`UINT${bits}`, [0n, 2n ** BigInt(bits) - 1n]],
  ]),
);

function dataOf(name: string, datatype: JsonDatatype, values: readonly unknown[]): TensorData {
  const wrong = (at: number, value: unknown) =>
    new MeshError(
      'WRONG_TENSOR_TYPE',
      `input "${name}": ${JSON.stringify(String(value))} (element ${at}) is no ${datatype}`,
      {
        input: name,
        element: at,
      },
    );
  const checked = <T>(take: (value: unknown) => T | undefined) =>
    values.map((value, at) => {
      const taken = take(value);
      if (taken === undefined) throw wrong(at, value);
      return taken;
    });
  const float = (value: unknown) =>
    value === null
      ? Number.NaN
      : typeof value === 'number'
        ? value
        : typeof value === 'bigint'
          ? Number(value)
          : undefined;
  const whole = (value: unknown) => {
    const [least, most] = wholeRanges[datatype] ?? [0n, 0n];
    if (typeof value !== 'bigint' && !Number.isInteger(value)) return undefined;
    const big = BigInt(value as number | bigint);
    return big >= least && big <= most ? big : undefined;
  };
  switch (datatype) {
    case 'BOOL':
      return Uint8Array.from(
        checked((value) => (value === true || value === 1 ? 1 : value === false || value === 0 ? 0 : undefined)),
      );
    case 'BYTES':
      return checked((value) => (typeof value === 'string' ? value : undefined));
    case 'FP32':
      return Float32Array.from(checked(float));
    case 'FP64':
      return Float64Array.from(checked(float));
    case 'INT64':
      return BigInt64Array.from(checked(whole));
    case 'UINT64':
      return BigUint64Array.from(checked(whole));
    case 'INT8':
      return Int8Array.from(checked(whole), Number);
    case 'INT16':
      return Int16Array.from(checked(whole), Number);
    case 'INT32':
      return Int32Array.from(checked(whole), Number);
    case 'UINT8':
      return Uint8Array.from(checked(whole), Number);
    case 'UINT16':
      return Uint16Array.from(checked(whole), Number);
    case 'UINT32':
      return Uint32Array.from(checked(whole), Number);
    default:
      return datatype satisfies never;
  }
}

/** The JSON text of a tensor's data, flat. NaN is null and an infinity ±1e999, which readers of JSON take as one. */
export function toJsonText(name: string, { datatype, data }: Tensor): string {
  switch (datatype) {
    case 'FP16':
      throw new MeshError('WRONG_TENSOR_TYPE', `output "${name}" is FP16, which cannot be JSON; ask for binary data`, {
        output: name,
      });
    case 'BYTES':
      return JSON.stringify(data);
    case 'BOOL':
      return `[${Array.from(data as Uint8Array, Boolean).join(',')}]`;
    case 'FP32':
    case 'FP64':
      return `[${Array.from(data as Float64Array, floatText).join(',')}]`;
    default:
      return `[${(data as Int32Array).join(',')}]`;
  }
}

function floatText(value: number): string {
  if (Number.isFinite(value)) return Object.is(value, -0) ? '-0.0' : String(value);
  return Number.isNaN(value) ? 'null' : value > 0 ? '1e999' : '-1e999';
}
