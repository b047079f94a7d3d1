import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { MeshError, parseExactJson } from '@millrace/kernel';
import { z } from 'zod';
import type { GoldenOutput, GoldenRequest, GoldenValue } from '../domain/golden.ts';
import { fromJson } from '../domain/json-data.ts';
import { wireDatatype, wireShape } from '../domain/raw-tensor.ts';
import { elementsOf, type Tensor } from '../domain/tensor.ts';
import { modelPath } from './model-path.ts';

const bytesMax = 16 * 2 ** 20;
/** What is parsed in one piece, on the event loop: about 10 ms. */
const lineBytesMax = 2 ** 20;
const requestsMax = 10_000;
/** The event loop's other work waits no longer for a file than so. */
const sliceMs = 1;
const chunkBytes = 65_536;

const tolerances = { atol: z.number().nonnegative().optional(), rtol: z.number().nonnegative().optional() };
const parameters = z.looseObject(tolerances).optional();
const shape = z.array(z.union([z.number(), z.bigint()]));
const line = z.object({
  id: z.string().optional(),
  parameters,
  inputs: z.array(z.object({ name: z.string(), shape, datatype: z.string(), data: z.array(z.unknown()) })).min(1),
  outputs: z
    .array(
      z.object({
        name: z.string(),
        shape: shape.optional(),
        parameters,
        data: z.array(z.unknown()),
      }),
    )
    .min(1),
});

export interface GoldenFile {
  readonly uri: string;
  readonly sha256: string;
}

/**
 * The requests of a golden file: lines of JSON, each a request of the Open Inference Protocol over REST with the `outputs` that it must be answered; at most 10,000 lines of at most
 * 1 MiB, 16 MiB together. `parameters` of a line or of an output may have `atol` and `rtol`. It is read in slices of a millisecond: the event loop goes on.
 * MODEL_LOAD_FAILED with the line.
 */
export async function readGolden(
  modelDir: string,
  model: string,
  { uri, sha256 }: GoldenFile,
): Promise<readonly GoldenRequest[]> {
  const bytes = await readChecked(modelPath(modelDir, uri), model, uri, sha256);
  const requests: GoldenRequest[] = [];
  const rest = pauses();
  let number = 0;
  for (let from = 0; from < bytes.length; ) {
    const newline = bytes.indexOf(10, from);
    const end = newline < 0 ? bytes.length : newline;
    number++;
    const bad = (what: string, cause?: unknown) =>
      new MeshError(
        'MODEL_LOAD_FAILED',
        `model "${model}": line ${number} of golden file "${uri}" ${what}`,
        { model, uri, line: number },
        { cause },
      );
    if (end - from > lineBytesMax) throw bad(`has ${end - from} bytes, and ${lineBytesMax} are the most`);
    const text = bytes.toString('utf8', from, end);
    from = end + 1;
    if (text.trim() === '') continue;
    if (requests.length === requestsMax) throw bad(`is beyond ${requestsMax} requests, the most that are checked`);
    requests.push(requestOf(text, number, bad));
    await rest();
  }
  if (requests.length > 0) return requests;
  throw new MeshError('MODEL_LOAD_FAILED', `model "${model}": golden file "${uri}" has no request`, { model, uri });
}

async function readChecked(path: string, model: string, uri: string, sha256: string): Promise<Buffer> {
  const fail = (what: string, cause?: unknown) =>
    new MeshError('MODEL_LOAD_FAILED', `model "${model}": golden file "${uri}" ${what}`, { model, uri }, { cause });
  const size = await stat(path).then(
    (file) => file.size,
    (cause) => {
      throw fail('is not in the model repository', cause);
    },
  );
  if (size > bytesMax) throw fail(`has ${size} bytes, and ${bytesMax} are the most`);
  const bytes = await readFile(path);
  const digest = createHash('sha256');
  const rest = pauses();
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    digest.update(bytes.subarray(at, at + chunkBytes));
    await rest();
  }
  const found = digest.digest('hex');
  if (found === sha256) return bytes;
  throw fail(`has SHA-256 ${found}, not ${sha256} as registered; apply the definition again or restore the file`);
}

/** Lets others go on once a slice is over. */
function pauses(): () => Promise<void> {
  let sinceMs = performance.now();
  return async () => {
    if (performance.now() - sinceMs < sliceMs) return;
    await new Promise((resolve) => setImmediate(resolve));
    sinceMs = performance.now();
  };
}

type Bad = (what: string, cause?: unknown) => MeshError;
type Line = z.output<typeof line>;

function requestOf(text: string, number: number, bad: Bad): GoldenRequest {
  let given: unknown;
  try {
    given = parseExactJson(text);
  } catch (cause) {
    throw bad(`is not JSON: ${(cause as Error).message}`, cause);
  }
  const parsed = line.safeParse(given);
  if (!parsed.success) {
    const [problem] = parsed.error.issues;
    throw bad(`is no request with its outputs: ${problem?.path.join('.')}: ${problem?.message}`, parsed.error);
  }
  const { id, inputs, outputs, parameters: ofLine } = parsed.data;
  try {
    return {
      label: id ? `request "${id}" (line ${number})` : `the request of line ${number}`,
      inputs: new Map(inputs.map((input) => [input.name, inputOf(input)])),
      outputs: outputs.map((output) => outputOf(output, ofLine)),
    };
  } catch (cause) {
    throw bad(`cannot be taken: ${(cause as Error).message}`, cause);
  }
}

function inputOf({ name, shape: given, datatype, data }: Line['inputs'][number]): Tensor {
  return fromJson(name, wireDatatype(name, datatype), wireShape(name, given), data);
}

function outputOf(
  { name, shape: given, data, parameters: own }: Line['outputs'][number],
  ofLine: Line['parameters'],
): GoldenOutput {
  const expected = given?.map(Number);
  const values = data.flat(Number.POSITIVE_INFINITY) as GoldenValue[];
  for (const [at, value] of values.entries())
    if (!['number', 'bigint', 'string', 'boolean'].includes(typeof value) && value !== null)
      throw new Error(`output "${name}": element ${at} is neither number, text, boolean nor null`);
  if (expected && elementsOf(expected) !== values.length)
    throw new Error(`output "${name}" has shape [${expected}] and ${values.length} elements`);
  return { name, shape: expected, values, atol: own?.atol ?? ofLine?.atol, rtol: own?.rtol ?? ofLine?.rtol };
}
