import { MeshError } from '@millrace/kernel';
import type { Tensors } from './batch-tensors.ts';
import { elementsOf, type Tensor } from './tensor.ts';

/** A value as JSON has it; null is NaN. */
export type GoldenValue = number | bigint | string | boolean | null;

/** What an output must be: |answered − value| ≤ atol + rtol × |value|, as numpy.allclose has it; text and booleans exactly. */
export interface GoldenOutput {
  readonly name: string;
  /** Left out: any shape of as many elements. */
  readonly shape: readonly number[] | undefined;
  readonly values: readonly GoldenValue[];
  /** Left out: 1e-5 of floats, 0 of whole numbers. */
  readonly atol: number | undefined;
  /** Left out: 1e-4 of floats, 0 of whole numbers. */
  readonly rtol: number | undefined;
}

/** A request and what it must be answered. */
export interface GoldenRequest {
  /** For people: its line, and its id where it has one. */
  readonly label: string;
  readonly inputs: Tensors;
  readonly outputs: readonly GoldenOutput[];
}

interface Tolerance {
  readonly atol: number;
  readonly rtol: number;
}

/** Of floats, where the file says nothing: kernels of other processors and batch sizes round differently. */
const floatTolerance: Tolerance = { atol: 1e-5, rtol: 1e-4 };
const exactly: Tolerance = { atol: 0, rtol: 0 };

/** GOLDEN_CHECK_FAILED names the request, the output, its first element that differs, both values and how many differ. */
export function checkGoldenAnswer(model: string, uri: string, request: GoldenRequest, answer: Tensors): void {
  for (const expected of request.outputs) {
    const given = answer.get(expected.name);
    const where = { model, uri, request: request.label, output: expected.name };
    const fail = (what: string, more: Readonly<Record<string, string | number>> = {}) =>
      new MeshError(
        'GOLDEN_CHECK_FAILED',
        `golden check of model "${model}": ${request.label} of "${uri}": output "${expected.name}" ${what}`,
        { ...where, ...more },
      );
    if (!given) throw fail(`is not among the model's: ${[...answer.keys()].join(', ')}`);
    const shape = expected.shape ?? given.shape;
    if (elementsOf(given.shape) !== expected.values.length || `${shape}` !== `${given.shape}`)
      throw fail(
        `has shape [${given.shape}], expected ${expected.shape ? `[${expected.shape}]` : `${expected.values.length} elements`}`,
        { got: `[${given.shape}]`, expected: expected.shape ? `[${expected.shape}]` : expected.values.length },
      );
    if (given.datatype === 'FP16')
      throw fail('is FP16, which JSON does not have; leave it out of the golden file, or cast it in the model');
    const tolerance = toleranceOf(expected, given);
    const wrong = differences(expected, given, tolerance);
    if (wrong.count === 0) continue;
    const { first } = wrong;
    const element = indicesOf(first, given.shape);
    const [got, want] = [textOf(given.data[first], given), textOf(expected.values[first], given)];
    const around = tolerance === exactly ? '' : ` ± ${bound(expected.values[first], tolerance)}`;
    const others = wrong.count === 1 ? '' : `; ${wrong.count} of ${given.data.length} elements differ`;
    const most = Number.isFinite(wrong.most) && wrong.count > 1 ? `, at most by ${short(wrong.most)}` : '';
    throw fail(`element [${element}] is ${got}, expected ${want}${around}${others}${most}`, {
      element: `[${element}]`,
      got,
      expected: want,
      differ: wrong.count,
    });
  }
}

function toleranceOf({ atol, rtol }: GoldenOutput, { datatype }: Tensor): Tolerance {
  const usual = datatype === 'FP32' || datatype === 'FP64' ? floatTolerance : exactly;
  if (datatype === 'BYTES' || datatype === 'BOOL' || (atol === undefined && rtol === undefined)) return usual;
  return { atol: atol ?? usual.atol, rtol: rtol ?? usual.rtol };
}

function differences({ values }: GoldenOutput, given: Tensor, tolerance: Tolerance) {
  let count = 0;
  let first = -1;
  let most = 0;
  for (const [at, want] of values.entries()) {
    const got = given.data[at] as number | bigint | string;
    const isText = typeof want === 'string' || typeof got === 'string';
    if (isText || tolerance === exactly ? isSame(got, want) : isNear(got, want, tolerance)) continue;
    count++;
    if (first < 0) first = at;
    most = Math.max(most, Math.abs(Number(got) - toNumber(want)));
  }
  return { count, first, most };
}

function isSame(got: number | bigint | string, want: GoldenValue): boolean {
  if (typeof want === 'string' || typeof got === 'string') return got === want;
  if (want === null) return Number.isNaN(got);
  if (typeof want === 'boolean') return Number(got) === Number(want);
  // 64-bit integers beyond what a double holds
  return typeof got === 'bigint' ? Number.isInteger(Number(want)) && got === BigInt(want) : got === Number(want);
}

function isNear(got: number | bigint, want: GoldenValue, { atol, rtol }: Tolerance): boolean {
  const [a, b] = [Number(got), toNumber(want)];
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) && Number.isNaN(b);
  // of an infinity every finite value would be within rtol
  return a === b || (Number.isFinite(b) && Math.abs(a - b) <= atol + rtol * Math.abs(b));
}

const toNumber = (value: GoldenValue) => (value === null ? Number.NaN : Number(value));
const bound = (value: GoldenValue | undefined, { atol, rtol }: Tolerance) =>
  short(atol + rtol * (Math.abs(toNumber(value ?? null)) || 0));
const short = (value: number) => String(Number(value.toPrecision(3)));

function textOf(value: unknown, { datatype }: Tensor): string {
  if (value === null) return 'NaN';
  if (datatype === 'BOOL') return String(Boolean(value));
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

/** Of each dimension. */
function indicesOf(at: number, shape: readonly number[]): number[] {
  let rest = at;
  return shape
    .toReversed()
    .map((size) => {
      const index = rest % size;
      rest = Math.floor(rest / size);
      return index;
    })
    .toReversed();
}
