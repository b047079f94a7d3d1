import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inference, oip } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { model } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runMillrace } from './cli-world.ts';
import { onnxDir } from './inference-world.ts';
import { type OipWorld, openOipWorld } from './oip-world.ts';

/** Attributions through the wire: what the XGBoost library says of its models, and brute force of others. */
const fixtures = join(import.meta.dirname, '..', '..', 'libs', 'explain', 'src', 'fixtures');

interface Expected {
  readonly rows: readonly (readonly (number | null)[])[];
  readonly contributions: readonly (readonly (number | readonly number[])[])[];
  readonly margins: readonly (number | readonly number[])[];
}
const expectedOf = (name: string): Expected =>
  JSON.parse(readFileSync(join(fixtures, `${name}.expected.json`), 'utf8')) as Expected;
const binary = expectedOf('xgboost-binary');
const multiclass = expectedOf('xgboost-multiclass');
const numbers = ({ rows }: Expected) => rows.map((row) => row.map((value) => value ?? Number.NaN));

let world: OipWorld;
let client: ReturnType<typeof clientOf>;
const clientOf = (address: string) =>
  connect(inference.PredictionServiceService, address, { defaultTimeoutMs: 30_000 });

function file(folder: string, name: string) {
  const path = join(folder, name);
  return { uri: pathToFileURL(path).href, sha256: createHash('sha256').update(readFileSync(path)).digest('hex') };
}

beforeAll(async () => {
  world = await openOipWorld({ MILLRACE_INFERENCE_EXPLAIN_QUEUE_MAX: '4' });
  client = clientOf(world.grpc);
  const about = { owner: 'tests' };
  await world.apply(
    model('xgb', { ...about, ...file(fixtures, 'xgboost-binary.onnx'), trees: file(fixtures, 'xgboost-binary.json') }),
    model('three', {
      ...about,
      ...file(fixtures, 'covers-multiclass.onnx'),
      trees: file(fixtures, 'xgboost-multiclass.json'),
    }),
    model('native', { ...about, ...file(fixtures, 'xgboost-multiclass.json'), format: 'xgboost' }),
    model('covers', { ...about, ...file(fixtures, 'covers-multiclass.onnx') }),
    model('bare', { ...about, ...file(fixtures, 'xgboost-binary.onnx') }),
    model('wrong-trees', {
      ...about,
      ...file(fixtures, 'xgboost-binary.onnx'),
      trees: { ...file(fixtures, 'xgboost-binary.json'), sha256: 'a'.repeat(64) },
    }),
    model('zipmap', { ...about, ...file(onnxDir, 'logistic-zipmap.onnx') }),
  );
  const names = ['xgb', 'three', 'covers', 'bare', 'zipmap', 'native'];
  await eventually(async () => (await Promise.all(names.map((name) => isReady(name)))).every(Boolean), {
    timeoutMs: 30_000,
  });
}, 120_000);

afterAll(async () => {
  client?.close();
  await world?.close();
});

const isReady = (name: string) =>
  world.oip.modelReady({ name, version: '' }).then(
    ({ ready }) => ready,
    () => false,
  );

function explain(name: string, rows: readonly (readonly number[])[], more: Partial<inference.ExplainRequest> = {}) {
  const given = rows.map((values) => ({ values: [...values] }));
  return client.explain(inference.ExplainRequest.fromPartial({ model: name, rows: given, ...more } as never));
}

/** Of each row and output: the values and the base. */
function expectEqual(found: readonly number[][][], expected: Expected): void {
  expect(found.length).toBe(expected.rows.length);
  for (const [row, outputs] of found.entries()) {
    const theirs = (expected.contributions[row] ?? []).flat();
    const ours = outputs.flat();
    expect(ours.length).toBe(theirs.length);
    for (const [at, value] of ours.entries()) expect(Math.abs(value - (theirs[at] ?? Number.NaN))).toBeLessThan(1e-5);
  }
}

const attributionsOf = (answer: inference.ExplainResponse) =>
  (answer.models[0]?.rows ?? []).map(({ outputs }) => outputs.map(({ values, base }) => [...values, base]));

test.each([
  ['xgb', binary],
  ['three', multiclass],
  ['native', multiclass],
] as const)('%s: Explain says what XGBoost says, to 1e-5, and it adds up', async (name, expected) => {
  const answer = await explain(name, numbers(expected));
  expect(answer.models).toMatchObject([{ model: name, method: 'exact', output: 'margin', note: '', pairs: 0 }]);
  expectEqual(attributionsOf(answer), expected);
  for (const [row, { outputs, features }] of (answer.models[0]?.rows ?? []).entries()) {
    expect(features).toEqual(numbers(expected)[row]);
    for (const [output, { margin, residual }] of outputs.entries()) {
      expect(Math.abs(margin - ([expected.margins[row] ?? []].flat()[output] ?? Number.NaN))).toBeLessThan(1e-5);
      expect(Math.abs(residual)).toBeLessThan(1e-12);
    }
  }
});

test('the parameter explain adds attributions to the answer of ModelInfer, raw or typed', async () => {
  const rows = numbers(binary);
  const flat = Float32Array.from(rows.flat());
  const input = { name: 'X', datatype: 'FP32', shape: [BigInt(rows.length), 6n] };
  const parameters = new Map([['explain', { parameterChoice: { $case: 'boolParam', value: true } }]]);
  const outputs = [{ name: 'probabilities' }];
  const raw = await world.oip.modelInfer(
    oip.ModelInferRequest.fromPartial({
      modelName: 'xgb',
      parameters,
      outputs,
      inputs: [input],
      rawInputContents: [Buffer.from(flat.buffer)],
    } as never),
  );
  const doubles = (name: string) => {
    const bytes = raw.rawOutputContents[raw.outputs.findIndex((output) => output.name === name)] ?? Buffer.alloc(0);
    return new Float64Array(Uint8Array.from(bytes).buffer);
  };
  expect(raw.parameters.get('explanation_method')?.parameterChoice?.value).toBe('exact');
  expect(raw.outputs.map(({ name, datatype, shape }) => [name, datatype, shape.map(Number)])).toEqual([
    ['probabilities', 'FP32', [12, 2]],
    ['explanation_values', 'FP64', [12, 1, 6]],
    ['explanation_base', 'FP64', [12, 1]],
    ['explanation_margin', 'FP64', [12, 1]],
    ['explanation_residual', 'FP64', [12, 1]],
    ['explanation_features', 'BYTES', [6]],
  ]);
  const [values, base] = [doubles('explanation_values'), doubles('explanation_base')];
  expectEqual(
    rows.map((_, row) => [[...values.subarray(row * 6, row * 6 + 6), base[row] ?? Number.NaN]]),
    binary,
  );
  const contents = { fp32Contents: [...flat] };
  const typed = await world.oip.modelInfer(
    oip.ModelInferRequest.fromPartial({
      modelName: 'xgb',
      parameters,
      outputs,
      inputs: [{ ...input, contents }],
    } as never),
  );
  expect(typed.outputs[1]?.contents?.fp64Contents).toEqual([...values]);
});

test('REST: …/explain, and …/infer with the parameter, say the same', async () => {
  const body = {
    inputs: [{ name: 'X', shape: [12, 6], datatype: 'FP32', data: binary.rows.flat() }],
    outputs: [{ name: 'probabilities' }],
  };
  const post = async (path: string, content: unknown) => {
    const response = await fetch(`http://${world.http}/v2/models/${path}`, {
      method: 'POST',
      body: JSON.stringify(content),
    });
    return { status: response.status, body: (await response.json()) as never as RestAnswer };
  };
  interface RestAnswer {
    readonly error?: string;
    readonly parameters?: Readonly<Record<string, string>>;
    readonly outputs?: readonly { readonly name: string; readonly data: readonly number[] }[];
  }
  const answer = await post('xgb/explain', body);
  expect(answer.body.parameters).toMatchObject({ explanation_method: 'exact', explanation_output: 'margin' });
  const data = (name: string) => answer.body.outputs?.find((output) => output.name === name)?.data ?? [];
  const found = binary.rows.map((_, row) => [
    [...data('explanation_values').slice(row * 6, row * 6 + 6), data('explanation_base')[row] ?? Number.NaN],
  ]);
  expectEqual(found, binary);
  expect((await post('xgb/infer', { ...body, parameters: { explain: true } })).body).toEqual(answer.body);
  expect((await post('xgb/infer', { ...body, parameters: { explain: 'yes' } })).body.error).toContain('true or false');
  expect((await post('xgb/infer', { ...body, parameters: { explain_pairs: 4 } })).body.error).toContain(
    'explain: true',
  );
  expect((await post('xgb/infer', body)).body.parameters).toBeUndefined();
});

test('an ONNX file that has covers is explained exactly by itself, and one that has none says why not', async () => {
  const answer = await explain('covers', numbers(multiclass), { method: 'exact' });
  for (const [row, { outputs }] of (answer.models[0]?.rows ?? []).entries())
    for (const [output, { margin }] of outputs.entries())
      expect(Math.abs(margin - ([multiclass.margins[row] ?? []].flat()[output] ?? Number.NaN))).toBeLessThan(1e-5);
  expect(answer.models[0]?.rows.length).toBe(12);
  await expect(explain('bare', numbers(binary), { method: 'exact' })).rejects.toMatchObject({
    reason: 'UNSUPPORTED',
    message: expect.stringContaining('save_model'),
  });
  await expect(explain('wrong-trees', numbers(binary))).rejects.toMatchObject({
    reason: 'MODEL_LOAD_FAILED',
    message: expect.stringContaining('SHA-256'),
  });
});

test('a model without known trees: sampled Shapley values are brute force within their errors, and add up', async () => {
  const rows = numbers(binary);
  const background = rows.slice(4, 8);
  await expect(explain('bare', rows.slice(0, 1))).rejects.toMatchObject({
    reason: 'INVALID_ARGUMENT',
    message: expect.stringContaining('background'),
  });
  const asked = { background: background.map((values) => ({ values })), pairs: 400, seed: 3 };
  const answer = await explain('bare', rows.slice(0, 2), asked);
  const [sampled] = answer.models;
  expect(sampled).toMatchObject({ method: 'sampled', output: 'probabilities', pairs: 400 });
  expect(sampled?.note).toContain('nodes_hitrates');
  for (const [at, { outputs }] of (sampled?.rows ?? []).entries()) {
    const exact = await bruteForce('bare', rows[at] ?? [], background);
    expect(outputs.length).toBe(2);
    for (const [output, { values, standardErrors, base, margin, residual }] of outputs.entries()) {
      expect(Math.abs(residual)).toBeLessThan(1e-9);
      expect(Math.abs(values.reduce((sum, value) => sum + value, base) - margin)).toBeLessThan(1e-9);
      for (const [feature, value] of values.entries()) {
        const error = standardErrors[feature] ?? Number.NaN;
        expect(error).toBeLessThan(0.02);
        expect(Math.abs(value - (exact[output]?.[feature] ?? Number.NaN))).toBeLessThan(5 * error + 1e-6);
      }
    }
  }
  expect(await explain('bare', rows.slice(0, 2), asked)).toEqual(answer);
});

/** Shapley values over all subsets of six features, the others from the background; of each output. */
async function bruteForce(name: string, row: readonly number[], background: readonly (readonly number[])[]) {
  const subsets = 2 ** row.length;
  const mixed = Array.from({ length: subsets }, (_, subset) =>
    background.map((other) => row.map((value, at) => (subset & (1 << at) ? value : (other[at] ?? Number.NaN)))),
  ).flat();
  const { outputs } = await world.oip.modelInfer(
    oip.ModelInferRequest.fromPartial({
      modelName: name,
      inputs: [
        {
          name: 'X',
          datatype: 'FP32',
          shape: [BigInt(mixed.length), BigInt(row.length)],
          contents: { fp32Contents: mixed.flat() },
        },
      ],
      outputs: [{ name: 'probabilities' }],
    } as never),
  );
  const scores = outputs[0]?.contents?.fp32Contents ?? [];
  const worth = (subset: number, output: number) =>
    background.reduce((sum, _, at) => sum + (scores[(subset * background.length + at) * 2 + output] ?? 0), 0) /
    background.length;
  const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1));
  const size = (subset: number) => [...subset.toString(2)].filter((bit) => bit === '1').length;
  return [0, 1].map((output) =>
    row.map((_, feature) => {
      let value = 0;
      for (let subset = 0; subset < subsets; subset++) {
        if (subset & (1 << feature)) continue;
        const weight = (factorial(size(subset)) * factorial(row.length - size(subset) - 1)) / factorial(row.length);
        value += weight * (worth(subset | (1 << feature), output) - worth(subset, output));
      }
      return value;
    }),
  );
}

test('what the normaliser made of a ZipMap does not matter: classes are named', async () => {
  const background = [{ values: [0, 0] }];
  const answer = await explain('zipmap', [[1.5, -1]], { background });
  const outputs = answer.models[0]?.rows[0]?.outputs ?? [];
  expect(outputs.map(({ label }) => label)).toEqual(['0', '1']);
  // two features and one background row: every pair of orders is all orders
  for (const { values, standardErrors, base, margin } of outputs) {
    expect(standardErrors).toEqual([expect.closeTo(0, 12), expect.closeTo(0, 12)]);
    expect(values.reduce((sum, value) => sum + value, base)).toBeCloseTo(margin, 12);
  }
  const [first, second] = outputs;
  expect(first?.values[0]).toBeCloseTo(-(second?.values[0] ?? 0), 6);
});

test('limits: work, rows, time and how many at once are refused by name, and others go on', async () => {
  const row = numbers(binary).slice(0, 1);
  const background = [{ values: [0, 0, 0, 0, 0, 0] }];
  await expect(explain('bare', row, { background, pairs: 100_000 })).rejects.toMatchObject({
    reason: 'LIMIT_EXCEEDED',
    message: expect.stringContaining('pairs'),
  });
  await expect(explain('bare', [[1, 2]], { background })).rejects.toMatchObject({ reason: 'WRONG_TENSOR_SHAPE' });
  await expect(explain('bare', row, { background: [{ values: [1] }] })).rejects.toMatchObject({
    reason: 'WRONG_TENSOR_SHAPE',
  });
  await expect(explain('xgb', [])).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  await expect(explain('none', row)).rejects.toMatchObject({ reason: 'UNKNOWN_MODEL' });
  await expect(explain('bare', row, { method: 'guess' })).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  const long = () => explain('bare', row, { background, pairs: 8_000 });
  const all = await Promise.allSettled(Array.from({ length: 8 }, long));
  const refused = all.filter(({ status }) => status === 'rejected');
  expect(refused.length).toBe(4);
  for (const one of refused) expect(one).toMatchObject({ reason: { reason: 'OVERLOADED' } });
  const begunMs = performance.now();
  const impatient = connect(inference.PredictionServiceService, world.grpc, { defaultTimeoutMs: 150 });
  const request = { model: 'bare', rows: [{ values: row[0] }], background, pairs: 80_000 };
  await expect(impatient.explain(inference.ExplainRequest.fromPartial(request as never))).rejects.toMatchObject({
    reason: 'DEADLINE_EXCEEDED',
  });
  impatient.close();
  expect(performance.now() - begunMs).toBeLessThan(5_000);
  // the given up one has let go of its place and of the worker
  await eventually(async () => (await explain('xgb', row)).models.length === 1, { timeoutMs: 10_000 });
});

test('millrace explain: what moves most comes first', async () => {
  const dir = join(world.dir, 'cli');
  mkdirSync(join(dir, '.millrace'), { recursive: true });
  const services = { 'model-inference': { grpc: world.grpc, http: world.http } };
  writeFileSync(join(dir, '.millrace', 'endpoints.json'), JSON.stringify({ services, stores: {} }));
  const row = (binary.rows[0] ?? []).map((value) => value ?? '').join(',');
  const { code, out, err } = await runMillrace(dir, ['explain', 'xgb', '--row', row, '--top', '3']);
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(/^xgb@[0-9a-f]{12}, margin, exact \(TreeSHAP\)\nrow 0: base -1\.2833 → -2\.6019/);
  const shown = [...out.matchAll(/│ (X\[\d\]) +│ +(\S+) +│ (\S+)/g)].map(([, name, value, text]) => [
    name,
    value,
    text,
  ]);
  expect(shown).toEqual([
    ['X[0]', '0', '-1.4041'],
    ['X[4]', 'missing', '+0.34449'],
    ['X[1]', '0', '-0.26310'],
  ]);
  expect(out).toContain('3 more move it less; --top shows them');
  const json = await runMillrace(dir, ['--json', 'explain', 'bare', '--row', row, '--background', '0,0,0,0,0,0']);
  expect(json.json<inference.ExplainResponse>().models[0]).toMatchObject({ method: 'sampled', pairs: 64 });
  const unknown = await runMillrace(dir, ['explain', 'nothing', '--row', '1']);
  expect(unknown).toMatchObject({ code: 1, err: expect.stringContaining('there is no model "nothing"; models: ') });
});
