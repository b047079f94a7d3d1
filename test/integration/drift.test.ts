import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { alerts, inference } from '@millrace/contracts';
import { openNats, readStream } from '@millrace/events';
import { connect } from '@millrace/rpc';
import { deployment, model } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runMillrace } from './cli-world.ts';
import { onnxDir, sha256Of } from './inference-world.ts';
import { type OipWorld, openOipWorld } from './oip-world.ts';

/** A small world: a model of two columns of request data, its training data as CSV, and traffic that shifts. */
let world: OipWorld;
let folder: string;
let client: ReturnType<typeof open>;

const open = (grpc: string) => connect(inference.PredictionServiceService, grpc, { defaultTimeoutMs: 20_000 });
const windowRows = 1_200;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-drift-'));
  copyFileSync(join(onnxDir, 'logistic.onnx'), join(folder, 'logistic.onnx'));
  world = await openOipWorld(
    { MILLRACE_MODEL_DIR: folder, MILLRACE_INFERENCE_DRIFT_WINDOW_ROWS: String(windowRows) },
    [],
  );
  client = open(world.grpc);
  await world.apply(watched(), target);
  await world.ready('watched');
});

afterAll(async () => {
  client?.close();
  await world?.close();
  rmSync(folder, { recursive: true, force: true });
});

const watched = (profile?: { readonly uri: string; readonly sha256: string }) =>
  model('watched', {
    owner: 'tests',
    uri: 'logistic.onnx',
    sha256: sha256Of('logistic.onnx'),
    input: { name: 'X', columns: [{ request: 'delay' }, { request: 'wind', fill: 0 }] },
    output: { name: 'probabilities', column: 1 },
    ...(profile ? { profile } : {}),
  });
const target = deployment('watched', { owner: 'tests', targets: [{ model: watched() }] });

let state = 7;
function uniform(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}
const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());

async function predict(rows: number, windShift = 0, more: readonly (readonly [number, number])[] = []) {
  const drawn = Array.from({ length: rows }, () => [Math.exp(normal()), normal() + windShift] as const);
  const all = [...drawn, ...more];
  const requestData = [
    { name: 'delay', doubles: all.map(([delay]) => delay) },
    { name: 'wind', doubles: all.map(([, wind]) => wind) },
  ];
  return client.predict(inference.PredictRequest.fromPartial({ deployment: 'watched', requestData }));
}

const drift = async () => {
  const [one] = (await client.getDrift({ model: 'watched', modelVersion: '' })).versions;
  if (!one) throw new Error('nothing is watched');
  return one;
};

async function raised(): Promise<alerts.Alert[]> {
  const nats = await openNats(world.mesh.nats.url, { name: 'test' });
  const found: alerts.Alert[] = [];
  const signal = AbortSignal.timeout(10_000);
  const options = { stream: 'ALERTS', fromSeq: 1, signal };
  try {
    // an empty stream says nothing
    await new Promise((resolve) => setTimeout(resolve, 10));
    for await (const { data, pending } of readStream(nats, options)) {
      found.push(alerts.Alert.decode(data));
      if (pending === 0) break;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await nats.close();
  }
  return found.filter(({ kind }) => kind.startsWith('model_drift'));
}

const versionOf = async () => (await world.oip.modelMetadata({ name: 'watched', version: '' })).versions[0];

test('millrace model profile writes how training data and scores were spread; naming it makes no new version', async () => {
  await expect(client.getDrift({ model: 'watched', modelVersion: '' })).rejects.toMatchObject({ reason: 'NOT_READY' });
  expect((await predict(1)).predictions[0]).toMatchObject({ outlierScore: undefined, outlierColumn: '' });
  const work = join(folder, 'work');
  mkdirSync(join(work, '.millrace'), { recursive: true });
  const { governance } = world;
  const services = {
    governance: { grpc: governance.grpc, http: governance.http },
    'model-inference': { grpc: world.grpc, http: world.http },
  };
  writeFileSync(join(work, '.millrace', 'endpoints.json'), JSON.stringify({ services, stores: {} }));
  const lines = Array.from(
    { length: 5_000 },
    (_, row) => `${row},${Math.exp(normal())},${row % 50 === 0 ? '' : normal()}`,
  );
  writeFileSync(join(work, 'training.csv'), `id,delay,wind\n${lines.join('\n')}\n`);
  const made = await runMillrace(work, [
    'model',
    'profile',
    'watched',
    '--data',
    'training.csv',
    '--out',
    'profile.json',
    '--json',
  ]);
  expect(made.err.replaceAll(/\[.*\n/g, '')).toBe('');
  const { sha256, rows } = made.json<{ sha256: string; rows: number }>();
  expect(rows).toBe(5_000);
  const text = readFileSync(join(work, 'profile.json'));
  expect(createHash('sha256').update(text).digest('hex')).toBe(sha256);
  const profile = JSON.parse(text.toString());
  expect(profile).toMatchObject({
    format: 'millrace.profile/1',
    rows: 5_000,
    columns: [
      { name: 'delay', count: 5_000, missing: 0, mean: expect.closeTo(Math.exp(0.5), 0) },
      // what is missing is filled, as the served vector is
      { name: 'wind', count: 5_000, missing: 0, mean: expect.closeTo(0, 0) },
    ],
    score: { name: 'score', count: 5_000 },
  });
  expect([profile.columns[0].counts.length, profile.columns[0].percentiles.length]).toEqual([10, 101]);
  const wrong = await runMillrace(work, ['model', 'profile', 'watched', '--data', 'missing.csv', '--out', 'x.json']);
  expect(wrong.code).toBe(1);
  writeFileSync(join(work, 'other.csv'), 'delay\n1\n');
  const other = await runMillrace(work, ['model', 'profile', 'watched', '--data', 'other.csv', '--out', 'x.json']);
  expect(other.err).toMatch(/no column "wind"; it has: delay/);

  writeFileSync(join(folder, 'profile.json'), text);
  const before = await versionOf();
  await world.apply(watched({ uri: 'profile.json', sha256 }));
  await eventually(async () => expect((await drift()).rows).toBe(0n));
  expect(await versionOf()).toBe(before);
});

test('healthy traffic raises nothing; a shifted input is named and alerted once, and resolved when it is over', async () => {
  for (let call = 0; call < 20; call++) await predict(100);
  const healthy = await drift();
  expect(healthy.rows).toBeGreaterThanOrEqual(BigInt(windowRows - windowRows / 12));
  expect(healthy).toMatchObject({ alerting: false, rowsTotal: 2_000n });
  expect(healthy.columns.map(({ name }) => name).sort()).toEqual(['delay', 'score', 'wind']);
  expect(healthy.columns.flatMap(({ signs }) => signs)).toEqual([]);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect((await drift()).alerting).toBe(false);

  for (let call = 0; call < 4; call++) await predict(100, 2);
  const shifted = await eventually(async () => {
    const now = await drift();
    expect(now.alerting).toBe(true);
    return now;
  });
  expect(shifted.columns[0]).toMatchObject({ name: 'wind', signs: expect.arrayContaining(['psi', 'cusum']) });
  expect(shifted.columns[0]?.meanShift).toBeGreaterThan(0.4);
  expect(shifted.columns.find(({ name }) => name === 'delay')?.signs).toEqual([]);
  for (let call = 0; call < 4; call++) await predict(100, 2);
  await new Promise((resolve) => setTimeout(resolve, 2_500));

  const work = join(folder, 'work');
  const told = await runMillrace(work, ['model', 'drift', 'watched']);
  expect([told.code, told.out]).toEqual([1, expect.stringMatching(/DRIFTING since .*\n[\s\S]*wind[\s\S]*delay/)]);
  const rest = await (await fetch(`http://${world.http}/v2/models/watched/drift`)).json();
  expect(rest).toMatchObject({ rows_min: 200, versions: [{ model: 'watched', columns: [{ name: 'wind' }, {}, {}] }] });
  const metrics = await (await fetch(`http://${world.http}/metrics`)).text();
  expect(metrics).toMatch(/millrace_inference_drift_alerting\{model="watched",[^}]*\} 1/);
  expect(metrics).toMatch(/millrace_inference_drift_psi\{[^}]*column="wind"[^}]*\} \d/);

  for (let call = 0; call < 16; call++) await predict(100);
  await eventually(async () => expect((await drift()).alerting).toBe(false), { timeoutMs: 10_000 });
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const all = await raised();
  expect(all.map(({ kind, severity }) => [kind, severity])).toEqual([
    ['model_drift', alerts.Severity.WARNING],
    ['model_drift_resolved', alerts.Severity.INFO],
  ]);
  expect(all[0]?.message).toMatch(/^predictions of model "watched" .* differ from its training: "wind" \(PSI \d/);
  expect(new Set(all.map(({ dedupKey }) => dedupKey)).size).toBe(1);
  expect((await runMillrace(work, ['model', 'drift', 'watched'])).code).toBe(0);
});

test('a prediction says how far out its row is, and which column', async () => {
  const outliersBefore = (await drift()).outliers;
  const { predictions } = await predict(2, 0, [[1, 60]]);
  const [first, , far] = predictions;
  expect(first?.outlierScore).toBeGreaterThan(0);
  expect(first?.outlierScore).toBeLessThan(20);
  expect(far).toMatchObject({ outlierColumn: 'wind', outlierScore: expect.closeTo(60, -1) });
  expect((await drift()).outliers).toBeGreaterThan(outliersBefore);
});

test('a profile that is not the registered one, or of other columns, is said and not used; predictions go on', async () => {
  await world.apply(watched({ uri: 'profile.json', sha256: '0'.repeat(64) }));
  await eventually(async () =>
    expect(client.getDrift({ model: 'watched', modelVersion: '' })).rejects.toThrow(/SHA-256/),
  );
  expect((await predict(1)).predictions[0]?.outlierScore).toBeUndefined();

  const later = readFileSync(join(folder, 'profile.json'));
  const sha256 = createHash('sha256').update(later).digest('hex');
  await world.apply(watched({ uri: 'later.json', sha256 }));
  await eventually(async () =>
    expect(client.getDrift({ model: 'watched', modelVersion: '' })).rejects.toThrow(/no profile "later.json"/),
  );
  const other = later.toString().replace('"name": "wind"', '"name": "gusts"');
  writeFileSync(join(folder, 'other.json'), other);
  await world.apply(watched({ uri: 'other.json', sha256: createHash('sha256').update(other).digest('hex') }));
  await eventually(async () =>
    expect(client.getDrift({ model: 'watched', modelVersion: '' })).rejects.toThrow(
      'is of the columns delay, gusts, and its vector has delay, wind',
    ),
  );

  await world.apply(watched({ uri: 'later.json', sha256 }));
  // the file comes afterwards
  writeFileSync(join(folder, 'later.json'), later);
  await eventually(async () => expect((await drift()).rows).toBe(0n), { timeoutMs: 20_000 });
});
