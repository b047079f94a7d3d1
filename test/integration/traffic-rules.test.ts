import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deployments, inference, rollouts as rolloutContract } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { deployment } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringKeys } from '../support/full-mesh.ts';
import { runMillrace } from './cli-world.ts';
import { fp32, inferRequest } from './inference-world.ts';
import { openOipWorld, scoreColumns, scoreModel } from './oip-world.ts';

/** Deployments whose rules and declared units say which of three models answers: a model's score is the column of its name. */
let world: Awaited<ReturnType<typeof openOipWorld>>;
let predictions: ReturnType<typeof openPredictions>;
const openPredictions = () =>
  connect(inference.PredictionServiceService, world.grpc, { defaultTimeoutMs: 20_000, caller: 'tests' });
const stable = scoreModel('stable', 0);
const beta = scoreModel('beta', 1);
const large = scoreModel('large', 2);
const ruled = deployment('ruled', {
  owner: 'tests',
  targets: [{ model: stable }],
  rules: [
    { name: 'beta-tenants', when: 'headers["x-tenant"] == "beta"', targets: [{ model: beta }] },
    { name: 'large', when: 'data.a > 100.0 || parameters.size == "large"', targets: [{ model: large }] },
    { name: 'staff', when: 'unit.startsWith("staff-")', targets: [{ model: beta }, { model: large }] },
  ],
});
const byUser = deployment('by_user', {
  owner: 'tests',
  targets: [{ model: stable }, { model: beta }],
  unit: '"x-user" in headers ? headers["x-user"] : keys.user',
});

beforeAll(async () => {
  world = await openOipWorld({}, [], ['nats', 'clickhouse']);
  await world.apply(stable, beta, large, ruled, byUser);
  await world.ready('stable', 'beta', 'large');
  predictions = openPredictions();
}, 180_000);

afterAll(async () => {
  predictions?.close();
  await world?.close();
});

interface Asked {
  readonly a?: number;
  readonly key?: string;
  readonly user?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The models that answer rows of one request. */
async function answered(name: string, rows: readonly Asked[], metadata: Readonly<Record<string, string>> = {}) {
  const request = inference.PredictRequest.fromPartial({
    deployment: name,
    keys: rows.some(({ user }) => user !== undefined)
      ? [
          stringKeys(
            'user',
            rows.map(({ user }) => user ?? ''),
          ),
        ]
      : [],
    requestData: scoreColumns.map(({ request: column }) => ({
      name: column,
      doubles: rows.map(({ a }) => (column === 'a' ? (a ?? 1) : 1)),
    })),
    predictionKeys: rows.map(({ key }) => key ?? ''),
  });
  const answer = await predictions.predict(request, { metadata });
  return answer.predictions.map(({ model: of }) => of);
}

test('headers, request data and units decide, row by row, and the first rule goes first', async () => {
  const rows = [{ key: 'u' }, { key: 'u', a: 500 }, { key: 'staff-1' }];
  const [first, second, third] = await answered('ruled', rows);
  expect([first, second]).toEqual(['stable', 'large']);
  expect(['beta', 'large']).toContain(third);
  expect(await answered('ruled', rows, { 'X-Tenant': 'beta' })).toEqual(['beta', 'beta', 'beta']);
  expect(await answered('ruled', [{ key: 'u' }], { 'x-tenant': 'other' })).toEqual(['stable']);
  // a rule's own targets share by weight, sticky
  const staff = Array.from({ length: 60 }, (_, at) => ({ key: `staff-${at}` }));
  const split = await answered('ruled', staff);
  expect(new Set(split)).toEqual(new Set(['beta', 'large']));
  expect(await answered('ruled', staff)).toEqual(split);
});

test('the Open Inference Protocol is routed by the same rules, over gRPC and REST', async () => {
  const request = inferRequest('ruled', [fp32('IN', [[1, 2, 3, 4]])]);
  const answeredBy = async (metadata: Readonly<Record<string, string>>, given = request) => {
    const { parameters } = await world.oip.modelInfer(given, { metadata });
    return parameters.get('model')?.parameterChoice?.value;
  };
  expect(await answeredBy({})).toBe('stable');
  expect(await answeredBy({ 'x-tenant': 'beta' })).toBe('beta');
  const large = {
    ...request,
    parameters: new Map([['size', { parameterChoice: { $case: 'stringParam', value: 'large' } }]]),
  };
  expect(await answeredBy({}, large as never)).toBe('large');
  const rest = async (headers: Readonly<Record<string, string>>, parameters: object = {}) => {
    const inputs = [{ name: 'IN', datatype: 'FP32', shape: [1, 4], data: [1, 2, 3, 4] }];
    const answer = await fetch(`http://${world.http}/v2/models/ruled/infer`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ parameters, inputs }),
    });
    return ((await answer.json()) as { parameters: { model: string } }).parameters.model;
  };
  expect(await rest({ 'X-Tenant': 'beta' })).toBe('beta');
  expect(await rest({}, { size: 'large' })).toBe('large');
  expect(await rest({ 'millrace-unit': 'staff-1' })).not.toBe('stable');
  expect(await rest({})).toBe('stable');
});

test('a declared unit decides in place of the prediction key, and a request that lacks it is told so', async () => {
  const byKey = await Promise.all(
    Array.from({ length: 40 }, (_, at) => answered('by_user', [{ key: `request-${at}`, user: 'ada' }])),
  );
  expect(new Set(byKey.flat()).size).toBe(1);
  const users = Array.from({ length: 40 }, (_, at) => ({ key: 'same', user: `user-${at}` }));
  expect(new Set(await answered('by_user', users))).toEqual(new Set(['stable', 'beta']));
  // the header goes before the key
  const header = await answered('by_user', users, { 'x-user': 'ada' });
  expect(new Set(header)).toEqual(new Set(byKey.flat()));
  await expect(answered('by_user', [{ key: 'k' }])).rejects.toThrow(
    expect.objectContaining({
      reason: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/deployment "by_user" sends traffic by the unit .*No such key: user/),
    }),
  );
});

test('what a rule sends elsewhere takes no part in a rollout', async () => {
  const client = connect(rolloutContract.RolloutServiceService, world.grpc, { defaultTimeoutMs: 20_000 });
  try {
    const plan = rolloutContract.RolloutPlan.fromPartial({
      steps: [{ share: 0.99, minSeconds: 600, minRequests: 1e6 }],
      guardrails: [{ kind: 'errors', tolerance: 1, margin: 3, negligible: 0.01, weight: 1 }],
      alpha: 0.01,
      beta: 0.05,
      rollbackMinRequests: 20,
      killShare: 0.5,
      killRequests: 20,
      maxSeconds: 600,
    });
    await client.startRollout({ deployment: 'ruled', model: 'large', modelVersion: '', plan, by: 'tests' });
    const ordinary = Array.from({ length: 100 }, (_, at) => ({ key: `u-${at}` }));
    expect((await answered('ruled', ordinary)).filter((name) => name === 'large').length).toBeGreaterThan(80);
    expect(new Set(await answered('ruled', ordinary, { 'x-tenant': 'beta' }))).toEqual(new Set(['beta']));
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const { rollout } = await client.getRollout({ deployment: 'ruled' });
    const errors = rollout?.now?.evidence.find(({ guardrail }) => guardrail === 'errors');
    // one call of the candidate's rows and perhaps one of those that stayed; none of the ruled ones
    expect(errors?.canary?.trials).toBe(1);
    expect(errors?.stable?.trials).toBeLessThanOrEqual(1);
    await client.controlRollout({ deployment: 'ruled', action: 'rollback', by: 'tests', reason: 'seen' });
  } finally {
    client.close();
  }
});

test('a rule that cannot be read is refused when it is applied, by name', async () => {
  const broken = deployment('broken', {
    owner: 'tests',
    targets: [{ model: stable }],
    unit: 'keys.user + 1',
    rules: [{ name: 'typo', when: 'header["x"] == "y"', targets: [{ model: beta, weight: 0 }] }],
  });
  await expect(world.apply(broken)).rejects.toThrow(
    /unit.*rules\.0\.when.*Unknown variable: header.*rules\.0\.targets.*every weight is 0/s,
  );
});

test('each unit is in the exposure log once, in ClickHouse, and its split is checked', async () => {
  const users = Array.from({ length: 300 }, (_, at) => ({ user: `person-${at}` }));
  const models = await answered('by_user', users);
  await answered('by_user', users);
  const client = connect(deployments.DeploymentServiceService, world.grpc, { defaultTimeoutMs: 20_000 });
  try {
    const report = () => client.getExposures({ deployment: 'by_user', deploymentVersion: '' });
    await eventually(async () => countOf(await report()) >= 300, { timeoutMs: 30_000 });
    const { groups } = await report();
    expect(groups).toHaveLength(1);
    const [group] = groups;
    // those of the tests before: ada and user-0 to user-39
    expect(group?.arms.reduce((sum, { units }) => sum + Number(units), 0)).toBe(341);
    expect(group?.movedUnits).toBe(0n);
    expect(group?.sampleRatioP).toBeGreaterThan(0.001);
    expect(group?.arms.map(({ model, expectedShare }) => [model, expectedShare])).toEqual([
      ['beta', 0.5],
      ['stable', 0.5],
    ]);
    const isBeta = (name: string | undefined) => name === 'beta';
    const before = 341 - 300;
    const ofBeta = Number(group?.arms.find(({ model }) => model === 'beta')?.units);
    expect(ofBeta).toBeGreaterThanOrEqual(models.filter(isBeta).length);
    expect(ofBeta).toBeLessThanOrEqual(models.filter(isBeta).length + before);
    await expect(client.getExposures({ deployment: 'ruled', deploymentVersion: '' })).rejects.toThrow(
      /declares no unit/,
    );
  } finally {
    client.close();
  }
});

test('a restart loses no exposure: they are sent before the process ends', async () => {
  const users = Array.from({ length: 50 }, (_, at) => ({ user: `late-${at}` }));
  await answered('by_user', users);
  predictions.close();
  await world.service.restart();
  predictions = openPredictions();
  const client = connect(deployments.DeploymentServiceService, world.grpc, { defaultTimeoutMs: 20_000 });
  try {
    const report = () => client.getExposures({ deployment: 'by_user', deploymentVersion: '' });
    await eventually(async () => countOf(await report()) === 391, { timeoutMs: 30_000 });
  } finally {
    client.close();
  }
});

test('millrace deployment route says where a request would go and why, and exposures what became of units', async () => {
  const endpoints = join(world.dir, 'endpoints.json');
  writeFileSync(endpoints, JSON.stringify({ services: { 'model-inference': { grpc: world.grpc } } }));
  const millrace = async (...args: string[]) =>
    (await runMillrace(world.dir, ['--endpoints', endpoints, 'deployment', ...args])).out;
  const beta = await millrace('route', 'ruled', '--prediction-key', 'u', '--header', 'X-Tenant=beta');
  expect(beta).toMatch(/unit "u" goes to beta [0-9a-f]{12}, by rule "beta-tenants"/);
  const none = await millrace('route', 'ruled', '--prediction-key', 'u');
  expect(none).toMatch(/goes to stable [0-9a-f]{12}, by the weights/);
  expect(none).toContain('No such key: x-tenant');
  const shown = await millrace('exposures', 'by_user');
  expect(shown).toMatch(/weights/);
  expect(shown).toContain('50.00 %');
});

const countOf = ({ groups }: deployments.GetExposuresResponse) =>
  groups.flatMap(({ arms }) => arms).reduce((sum, { units }) => sum + Number(units), 0);
