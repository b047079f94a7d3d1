import { MeshError } from '@millrace/kernel';
import { elementsOf, fixedKinds, type Tensor, type TensorData, type TensorSpec } from './tensor.ts';

/** What somebody else's code says that an output is. */
export interface GivenOutput {
  readonly name?: unknown;
  readonly shape?: unknown;
  readonly data?: unknown;
}

/**
 * The outputs that were wanted, in their order, as they were declared. MODEL_RUN_FAILED names the output, what it is and what it should be:
 * it is the model that is wrong, not its caller.
 *
 * @param rows what each output must begin with; undefined: any
 */
export function checkOutputs(
  model: string,
  declared: readonly TensorSpec[],
  wanted: readonly string[],
  given: unknown,
  rows?: number,
): ReadonlyMap<string, Tensor> {
  const outputs = new Map<string, GivenOutput>();
  for (const output of Array.isArray(given) ? given : []) {
    if (typeof output === 'object' && output !== null) outputs.set(String((output as GivenOutput).name), output);
  }
  return new Map(
    wanted.map((name) => {
      const spec = declared.find((one) => one.name === name);
      const output = outputs.get(name);
      if (!spec || output?.data === undefined) throw wrong(model, name, 'was not given');
      return [name, checked(model, spec, output, rows)];
    }),
  );
}

function checked(model: string, spec: TensorSpec, { shape, data }: GivenOutput, rows: number | undefined): Tensor {
  const { name, datatype } = spec;
  if (!isShape(shape)) throw wrong(model, name, `has no shape of whole numbers: [${String(shape)}]`);
  const fits = shape.length === spec.shape.length && spec.shape.every((size, at) => size === -1 || size === shape[at]);
  if (!fits) throw wrong(model, name, `has shape [${shape}] and was declared as [${spec.shape}]`);
  if (rows !== undefined && shape[0] !== rows)
    throw wrong(model, name, `has shape [${shape}] for ${rows} rows; batched outputs have a row for each`);
  const array = arrayOf(datatype);
  const isRight =
    datatype === 'BYTES'
      ? Array.isArray(data) && data.every((element) => typeof element === 'string')
      : Object.prototype.toString.call(data) === `[object ${array}]`;
  if (!isRight) throw wrong(model, name, `is ${kindOf(data)}; data of ${datatype} is ${array}`);
  const elements = elementsOf(shape);
  const { length } = data as ArrayLike<unknown>;
  if (length !== elements)
    throw wrong(model, name, `has ${length} elements and shape [${shape}], which is ${elements}`);
  return { datatype, shape, data: data as TensorData };
}

function wrong(model: string, output: string, what: string): MeshError {
  return new MeshError('MODEL_RUN_FAILED', `model "${model}" is wrong: output "${output}" ${what}`, { model, output });
}

function isShape(shape: unknown): shape is readonly number[] {
  return Array.isArray(shape) && shape.every((size) => Number.isSafeInteger(size) && size >= 0);
}

const arrays = new Map<string, string>();

/** The name of the class that holds elements of a datatype. */
function arrayOf(datatype: TensorSpec['datatype']): string {
  if (datatype === 'BYTES') return 'an Array of strings';
  const known = arrays.get(datatype) ?? fixedKinds[datatype].view(new ArrayBuffer(0), 0).constructor.name;
  arrays.set(datatype, known);
  return known;
}

function kindOf(data: unknown): string {
  if (Array.isArray(data)) return 'an Array';
  return Object.prototype.toString.call(data).slice('[object '.length, -1);
}
