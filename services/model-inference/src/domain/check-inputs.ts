import { MeshError } from '@millrace/kernel';
import { elementsOf, type Tensor, type TensorSpec } from './tensor.ts';

/** Refuses what a model cannot take, before it is asked: each error names the tensor, what was given and what is expected. */
export function checkInputs(model: string, specs: readonly TensorSpec[], given: ReadonlyMap<string, Tensor>): void {
  const names = specs.map(({ name }) => name).join(', ');
  for (const name of given.keys()) {
    if (!specs.some((spec) => spec.name === name)) {
      throw new MeshError('INVALID_ARGUMENT', `model "${model}" has no input "${name}"; its inputs: ${names}`, {
        model,
        input: name,
      });
    }
  }
  for (const spec of specs) {
    const tensor = given.get(spec.name);
    if (!tensor)
      throw new MeshError(
        'MISSING_MODEL_INPUT',
        `model "${model}" needs input "${spec.name}" (${text(spec)}) and the request does not have it`,
        { model, input: spec.name },
      );
    checkOne(model, spec, tensor);
  }
}

/** Refuses more rows than a configuration's `max_batch_size` lets one request have; 0: shapes are whole. */
export function checkRows(model: string, rowsMax: number, given: ReadonlyMap<string, Tensor>): void {
  if (rowsMax === 0) return;
  const rows = new Set([...given.values()].map(({ shape }) => shape[0] ?? 0));
  const [most = 0] = [...rows].toSorted((a, b) => b - a);
  if (rows.size > 1)
    throw new MeshError(
      'WRONG_TENSOR_SHAPE',
      `inputs of model "${model}" have ${[...rows].join(' and ')} rows; one request has one number of rows`,
      { model },
    );
  if (most <= rowsMax && most > 0) return;
  throw new MeshError(
    'WRONG_TENSOR_SHAPE',
    `model "${model}" takes 1 to ${rowsMax} rows (max_batch_size), and ${most} are given`,
    { model, expected: rowsMax, given: most },
  );
}

function checkOne(model: string, spec: TensorSpec, tensor: Tensor): void {
  const where = { model, input: spec.name };
  if (tensor.datatype !== spec.datatype) {
    throw new MeshError(
      'WRONG_TENSOR_TYPE',
      `input "${spec.name}" of model "${model}" is ${spec.datatype} and ${tensor.datatype} was given`,
      { ...where, expected: spec.datatype, given: tensor.datatype },
    );
  }
  const fits =
    tensor.shape.length === spec.shape.length &&
    spec.shape.every((size, at) => size === -1 || size === tensor.shape[at]);
  if (!fits || tensor.shape.some((size) => !Number.isInteger(size) || size < 0)) {
    throw new MeshError(
      'WRONG_TENSOR_SHAPE',
      `input "${spec.name}" of model "${model}" has shape [${spec.shape}] (-1: any) and [${tensor.shape}] was given`,
      { ...where, expected: `[${spec.shape}]`, given: `[${tensor.shape}]` },
    );
  }
  const elements = elementsOf(tensor.shape);
  if (tensor.data.length !== elements) {
    throw new MeshError(
      'WRONG_TENSOR_SHAPE',
      `input "${spec.name}" of model "${model}" has shape [${tensor.shape}], which is ${elements} elements, and ${tensor.data.length} were given`,
      { ...where, expected: elements, given: tensor.data.length },
    );
  }
}

function text({ datatype, shape }: TensorSpec): string {
  return `${datatype} [${shape}]`;
}
