import { MeshError } from '@millrace/kernel';
import { type ExplainAsk, type Explanation, methodOf } from './explanation.ts';
import type { Tensor } from './tensor.ts';

/**
 * What an inference request's parameters ask of attributions: `explain` (a boolean), `explain_method`, `explain_output`, `explain_pairs`,
 * `explain_seed`, and `explain_background` (rows as JSON). Undefined when they ask for none.
 */
export function explainAsk(parameters: ReadonlyMap<string, unknown>): ExplainAsk | undefined {
  const isAsked = parameters.get('explain');
  if (isAsked !== undefined && typeof isAsked !== 'boolean') throw wrong('explain', 'true or false');
  if (!isAsked) {
    const stray = [...parameters.keys()].find((name) => name.startsWith('explain_'));
    if (stray === undefined) return undefined;
    throw new MeshError(
      'INVALID_ARGUMENT',
      `parameter "${stray}" is given and nothing is explained; add explain: true`,
      {
        parameter: stray,
      },
    );
  }
  return {
    method: methodOf(text(parameters, 'explain_method')),
    output: text(parameters, 'explain_output') || undefined,
    pairs: whole(parameters, 'explain_pairs'),
    seed: whole(parameters, 'explain_seed'),
    background: background(text(parameters, 'explain_background')),
  };
}

/** Attributions as tensors of an answer; see the README. */
export function explanationTensors(explanation: Explanation): ReadonlyMap<string, Tensor> {
  const { rows, outputs, features, values, standardErrors, bases, margins, residuals, labels } = explanation;
  const tensor = (shape: readonly number[], data: Float64Array): Tensor => ({ datatype: 'FP64', shape, data });
  const texts = (data: readonly string[]): Tensor => ({ datatype: 'BYTES', shape: [data.length], data });
  return new Map([
    ['explanation_values', tensor([rows, outputs, features.length], values)],
    ['explanation_base', tensor([rows, outputs], bases)],
    ['explanation_margin', tensor([rows, outputs], margins)],
    ['explanation_residual', tensor([rows, outputs], residuals)],
    ...(standardErrors
      ? [['explanation_standard_errors', tensor([rows, outputs, features.length], standardErrors)] as const]
      : []),
    ['explanation_features', texts(features)],
    ...(labels.length > 0 ? [['explanation_labels', texts(labels)] as const] : []),
  ]);
}

function text(parameters: ReadonlyMap<string, unknown>, name: string): string {
  const value = parameters.get(name) ?? '';
  if (typeof value !== 'string') throw wrong(name, 'text');
  return value;
}

function whole(parameters: ReadonlyMap<string, unknown>, name: string): number | undefined {
  const value = parameters.get(name);
  if (value === undefined) return undefined;
  const number = typeof value === 'bigint' || typeof value === 'number' ? Number(value) : Number.NaN;
  if (!Number.isInteger(number) || number < 0 || number > 2 ** 32 - 1)
    throw wrong(name, 'a whole number from 0 to 4294967295');
  return number;
}

function background(json: string): readonly number[][] | undefined {
  if (json === '') return undefined;
  let rows: unknown;
  try {
    rows = JSON.parse(json);
  } catch {
    throw wrong('explain_background', 'JSON: [[1, 2], [3, null]]');
  }
  if (!Array.isArray(rows) || !rows.every((row) => Array.isArray(row) && row.every(isNumberOrNull)))
    throw wrong('explain_background', 'rows of numbers as JSON: [[1, 2], [3, null]]');
  return rows.map((row: (number | null)[]) => row.map((value) => value ?? Number.NaN));
}

function isNumberOrNull(value: unknown): boolean {
  return value === null || typeof value === 'number';
}

function wrong(parameter: string, expected: string): MeshError {
  return new MeshError('INVALID_ARGUMENT', `parameter "${parameter}" takes ${expected}`, { parameter });
}
