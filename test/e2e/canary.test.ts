import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rollouts as contract } from '@millrace/contracts';
import { openNats, readStream } from '@millrace/events';
import { dayUs } from '@millrace/flights';
import { connect } from '@millrace/rpc';
import { deployment, loadDefinitions } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBaselineScores } from '../../deploy/local/src/baselines.ts';
import { type Clients, openClients } from '../../deploy/local/src/clients.ts';
import { createFreshnessProbe } from '../../deploy/local/src/freshness.ts';
import { createParityCheck } from '../../deploy/local/src/parity.ts';
import { createPublisher } from '../../deploy/local/src/publisher.ts';
import { loadHistory, replay } from '../../deploy/local/src/replay.ts';
import { runMillrace } from '../integration/cli-world.ts';
import { flightsDir, scaledDelayModel } from '../support/flight-models.ts';
import { type FullMesh, serviceNames, startFullMesh } from '../support/full-mesh.ts';

/** A Monday, with the day before as history. */
const fromUs = Date.UTC(2001, 3, 2) * 1000;
const plan = `
steps:
  - { share: 0.25, min_seconds: 0.5, min_requests: 20 }
  - { share: 0.5, min_seconds: 0.5, min_requests: 50 }
guardrails:
  errors: { margin: 3, negligible: 0.05 }
  not_finite: { margin: 3, negligible: 0.05 }
  quality: { limit: 0.02, weight: 2 }
rollback_min_requests: 20
`;

let mesh: FullMesh;
let clients: Clients;
let rollouts: ReturnType<typeof openRollouts>;
const openRollouts = () =>
  connect(contract.RolloutServiceService, mesh.service('model-inference').grpc, { defaultTimeoutMs: 20_000 });
const millrace = (...args: string[]) =>
  runMillrace(mesh.dir, ['--endpoints', join(mesh.dir, 'endpoints.json'), 'rollout', ...args]);

beforeAll(async () => {
  mesh = await startFullMesh({ modelDir: join(flightsDir, 'model') });
  const services = Object.fromEntries(serviceNames.map((name) => [name, { grpc: mesh.service(name).grpc }]));
  writeFileSync(join(mesh.dir, 'endpoints.json'), JSON.stringify({ services }));
  writeFileSync(join(mesh.dir, 'plan.yaml'), plan);
  clients = openClients({ services } as unknown as Parameters<typeof openClients>[0]);
  rollouts = openRollouts();

  const modelDir = join(mesh.dir, 'models');
  // −2: surely and wrongly, some 0.3 nats worse
  const reversed = scaledDelayModel('reversed', -2, modelDir);
  const simple = deployment('simple', { owner: 'tests', targets: [{ model: reversed }] });
  const flights = await loadDefinitions([
    join(flightsDir, 'src', 'definitions.ts'),
    join(flightsDir, 'src', 'model.ts'),
  ]);
  const definitions = [...flights, ...[reversed, simple].map(({ definition }) => definition)];
  const isSource = ({ spec }: (typeof definitions)[number]) => ['entity', 'source'].includes(spec?.$case ?? '');
  const apply = (given: typeof definitions) =>
    clients.registry.apply({ definitions: given, removals: [], allowBreaking: false });
  await apply(definitions.filter(isSource));
  const publisher = createPublisher(clients.ingestion);
  const history = { fromUs: fromUs - dayUs, toUs: fromUs };
  await loadHistory(history, publisher, () => undefined, new AbortController().signal);
  await publisher.close();
  await apply(definitions);
  await mesh.viewsReady(5);
}, 180_000);

afterAll(async () => {
  rollouts?.close();
  clients?.close();
  await mesh?.close();
});

/** Real flights in the order of their events, each with a prediction by both deployments, until the signal. */
async function replayDay(signal: AbortSignal): Promise<void> {
  const publisher = createPublisher(clients.ingestion);
  const { predictions } = clients;
  const both: typeof predictions = Object.assign(Object.create(predictions), {
    async predict(...[request, ...more]: Parameters<typeof predictions.predict>) {
      await predictions.predict({ ...request, deployment: 'simple' }, ...more);
      return predictions.predict(request, ...more);
    },
  });
  const parts = {
    clients: { ...clients, predictions: both },
    publisher,
    freshness: createFreshnessProbe(clients.features),
    parity: createParityCheck(clients.compute, () => undefined),
    baselines: createBaselineScores(join(flightsDir, 'model', 'baselines.json')),
    signal,
  };
  const window = { fromUs, toUs: fromUs + dayUs, lookBackUs: dayUs, eventsPerSecond: 2_500, paritySample: 0 };
  await replay(window, parts, { published: 0, predictions: 0, outcomes: 0, eventTimeUs: fromUs, elapsedMs: 1 });
  await publisher.close();
}

interface Audited {
  readonly deployment: string;
  readonly action: string;
  readonly reason: string;
  readonly by: string;
  readonly decision: {
    readonly evidence: readonly {
      readonly guardrail: string;
      readonly verdict: string;
      readonly pWorse: number;
      readonly pGood: number;
      readonly canary: { readonly losses: { readonly count: number; readonly mean: number } };
      readonly stable: { readonly losses: { readonly count: number; readonly mean: number } };
    }[];
  };
}

async function audit(): Promise<Audited[]> {
  const nats = await openNats(mesh.stores.nats.url, { name: 'audit' });
  const audited: Audited[] = [];
  const options = { stream: 'ROLLOUT_DECISIONS', fromSeq: 1, signal: AbortSignal.timeout(10_000) };
  for await (const { data, pending } of readStream(nats, options)) {
    audited.push(JSON.parse(Buffer.from(data).toString()) as Audited);
    if (pending === 0) break;
  }
  await nats.close();
  return audited;
}

/** The last decision of a deployment's rollout, and what was measured of the losses. */
function concluded(audited: readonly Audited[], name: string) {
  const last = audited.findLast((decision) => decision.deployment === name);
  const quality = last?.decision.evidence.find(({ guardrail }) => guardrail === 'quality');
  if (!last || !quality) throw new Error(`no decision of "${name}": ${JSON.stringify(audited)}`);
  const others = last.decision.evidence.filter((evidence) => evidence !== quality);
  return { last, quality, others };
}

test('on replayed flights a worse model is rolled back by log loss of outcomes, and the better one promoted over it by the same', async () => {
  const start = (name: string, model: string) =>
    eventually(
      async () => {
        const { code, err } = await millrace('start', name, '--model', model, '--plan', join(mesh.dir, 'plan.yaml'));
        if (code !== 0) throw new Error(err);
        return true;
      },
      { timeoutMs: 20_000 },
    );
  await start('flight_delay', 'reversed');
  await start('simple', 'flight_delay');

  const stop = new AbortController();
  const replaying = replayDay(stop.signal);
  const isDone = async (name: string) =>
    (await rollouts.getRollout({ deployment: name })).rollout?.status !== 'running';
  await eventually(async () => (await isDone('flight_delay')) && (await isDone('simple')), { timeoutMs: 60_000 }).catch(
    () => undefined,
  );
  stop.abort();
  await replaying;
  const audited = await audit();

  const worse = concluded(audited, 'flight_delay');
  expect(worse.last).toMatchObject({ action: 'rollback', reason: 'GUARDRAIL_VIOLATED', by: 'evidence' });
  expect(worse.quality.verdict).toBe('violated');
  expect(worse.quality.pWorse).toBeLessThanOrEqual(0.01);
  expect(worse.quality.canary.losses.mean).toBeGreaterThan(worse.quality.stable.losses.mean);
  expect(worse.others.map(({ verdict }) => verdict)).not.toContain('violated');

  const better = concluded(audited, 'simple');
  expect(better.last).toMatchObject({ action: 'promote', reason: 'ALL_GUARDRAILS_PASSED', by: 'evidence' });
  expect(better.quality.verdict).toBe('passed');
  expect(better.quality.canary.losses.mean).toBeLessThan(better.quality.stable.losses.mean);
  expect(better.quality.pGood).toBeLessThanOrEqual(0.05);

  const [rolledBack, promoted] = await Promise.all([millrace('status', 'flight_delay'), millrace('status', 'simple')]);
  expect(rolledBack.out).toMatch(/reversed [0-9a-f]+ is rolled_back, with 0.00 % of traffic/);
  expect(rolledBack.out).toMatch(/quality\s+│ violated │ loss \d\.\d{4} of \d+ │ loss \d\.\d{4} of \d+ │/);
  expect(rolledBack.out).toMatch(/evidence: rollback, GUARDRAIL_VIOLATED/);
  expect(promoted.out).toMatch(/flight_delay [0-9a-f]+ is promoted, with 100.00 % of traffic/);
}, 120_000);
