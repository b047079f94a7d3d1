import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { MeshError } from '@millrace/kernel';

/** A model's input as onnxruntime names its type. */
export interface InputSpec {
  readonly name: string;
  readonly type: string;
  /** Without the rows; −1 where it may be anything. */
  readonly rowShape: readonly number[];
}

/** The values of an input for all rows, one after another. */
export interface InputRows {
  readonly spec: InputSpec;
  readonly rowShape: readonly number[];
  readonly values: readonly (number | string | boolean)[];
}

export interface Samples {
  readonly rows: number;
  readonly inputs: readonly InputRows[];
}

interface OipTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: unknown;
}

type Value = number | string | boolean;

const rowsMax = 100_000;

/**
 * Sample rows from lines of JSON. A line is one row (`{"X": [1, 2], "origin": "ATL"}`, an input's name and its values without the batch
 * dimension) or a request of the Open Inference Protocol (`{"inputs": [{"name", "shape", "data"}]}`, of any number of rows).
 */
export async function readSamples(path: string, specs: readonly InputSpec[]): Promise<Samples> {
  const values = new Map<string, Value[]>(specs.map(({ name }) => [name, []]));
  const shapes = new Map<string, readonly number[]>();
  let rows = 0;
  let line = 0;
  const bad = (message: string) =>
    new MeshError('INVALID_ARGUMENT', `line ${line} of "${path}" ${message}`, { path, line });
  const take = ({ name }: InputSpec, shape: readonly number[], data: readonly Value[]) => {
    const known = shapes.get(name);
    if (known && known.join() !== shape.join())
      throw bad(`gives input "${name}" the shape [${shape}] for a row, and lines before it [${known}]`);
    shapes.set(name, shape);
    values.get(name)?.push(...data);
  };
  try {
    for await (const text of createInterface({ input: createReadStream(path) })) {
      line++;
      if (text.trim() === '') continue;
      const given = parse(text, bad);
      const count = isRequest(given) ? takeRequest(given.inputs, specs, take, bad) : takeRow(given, specs, take, bad);
      rows += count;
      if (rows > rowsMax) throw bad(`is beyond ${rowsMax} rows, the most that are read`);
    }
  } catch (error) {
    if (error instanceof MeshError) throw error;
    throw new MeshError('INVALID_ARGUMENT', `"${path}" cannot be read: ${String(error)}`, { path }, { cause: error });
  }
  return {
    rows,
    inputs: specs.map((spec) => ({ spec, rowShape: shapes.get(spec.name) ?? [], values: values.get(spec.name) ?? [] })),
  };
}

function parse(text: string, bad: (message: string) => MeshError): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    throw bad('is not JSON');
  }
  throw bad('is not an object');
}

function isRequest(given: Record<string, unknown>): given is { inputs: readonly OipTensor[] } {
  return Array.isArray(given.inputs) && given.inputs.every((input) => Array.isArray((input as OipTensor)?.shape));
}

type Take = (spec: InputSpec, shape: readonly number[], data: readonly Value[]) => void;
type Bad = (message: string) => MeshError;

function takeRow(given: Record<string, unknown>, specs: readonly InputSpec[], take: Take, bad: Bad): number {
  for (const spec of specs) {
    if (given[spec.name] === undefined)
      throw bad(`has no input "${spec.name}"; it has: ${Object.keys(given).join(', ') || 'nothing'}`);
    const shape = shapeOf(given[spec.name]);
    const data = flat(given[spec.name], bad);
    // a row of one value may be written without brackets
    take(spec, shape.length === 0 ? spec.rowShape.map(() => 1) : shape, data);
  }
  return 1;
}

function takeRequest(inputs: readonly OipTensor[], specs: readonly InputSpec[], take: Take, bad: Bad): number {
  let rows = 0;
  for (const spec of specs) {
    const input = inputs.find(({ name }) => name === spec.name);
    if (!input) throw bad(`has no input "${spec.name}"`);
    const [count = 0, ...shape] = input.shape;
    const data = flat(input.data, bad);
    if (data.length !== input.shape.reduce((product, size) => product * size, 1))
      throw bad(`gives input "${spec.name}" ${data.length} values for the shape [${input.shape}]`);
    take(spec, shape, data);
    rows = count;
  }
  return rows;
}

function shapeOf(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...(value.length > 0 ? shapeOf(value[0]) : [])] : [];
}

function flat(value: unknown, bad: Bad): Value[] {
  const values = Array.isArray(value) ? value.flat(Number.POSITIVE_INFINITY) : [value];
  // JSON has no NaN: null is a number that is missing
  return values.map((one) => {
    if (one === null) return Number.NaN;
    if (typeof one === 'number' || typeof one === 'string' || typeof one === 'boolean') return one;
    throw bad('has a value that is neither number, text, boolean nor null');
  });
}
