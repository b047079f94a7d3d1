import { openNats } from '@millrace/events';
import type { MeshError } from '@millrace/kernel';
import { type RegistrySnapshot, viewDefinition, watchRegistry } from '@millrace/registry';
import { quietTelemetry } from '@millrace/runtime';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { actions, everyKind, type GovernanceWorld, openGovernanceWorld, refusal, shop } from './governance-world.ts';

let world: GovernanceWorld;
let other: ReturnType<GovernanceWorld['ask']>;
let stop: () => Promise<void>;
let watch: Awaited<ReturnType<typeof watchRegistry>>;

beforeAll(async () => {
  world = await openGovernanceWorld();
  other = world.ask(await world.mesh.service('governance'));
  const nats = await openNats(world.mesh.nats.url, { name: 'test' });
  const stopping = new AbortController();
  watch = await watchRegistry(nats, { signal: stopping.signal, telemetry: quietTelemetry() });
  stop = async () => {
    stopping.abort();
    await nats.close();
  };
});
afterAll(async () => {
  await stop?.();
  await world?.close();
});

test('a watcher has a new revision within a second, each time', async () => {
  const seen: number[] = [];
  const unlisten = watch.onChange(({ revision }) => seen.push(revision));
  const revisions: number[] = [];
  for (const hours of [1, 2, 3, 4, 5]) {
    const { revision } = await world.apply(shop('watched', { window: `${hours}h` }));
    revisions.push(Number(revision));
    await eventually(() => seen.at(-1) === Number(revision), { timeoutMs: 1_000 });
    expect(viewDefinition(watch.current(), 'watched').features[0]?.window).toMatchObject({ sizeUs: hours * 3.6e9 });
  }
  expect(seen).toEqual(revisions);
  unlisten();
});

test('two applies at once through two processes are both there, each whole', async () => {
  for (let round = 0; round < 5; round++) {
    const [left, right] = [`left${round}`, `right${round}`];
    const both = await Promise.all([world.apply(shop(left)), other.apply(shop(right))]);
    expect(new Set(both.map(({ revision }) => revision)).size).toBe(2);
    const versions = await world.versions();
    for (const { changes } of both)
      for (const { newVersion } of changes) expect(Object.values(versions)).toContain(newVersion);
    expect(Object.keys(versions)).toEqual(expect.arrayContaining([`featureService/${left}`, `entity/${right}`]));
  }
});

test('two definitions of one name at once: one is current, the other is the version before it', async () => {
  for (let round = 0; round < 5; round++) {
    const name = `both${round}`;
    const answers = await Promise.all([
      world.apply(shop(name, { window: '1h' })),
      other.apply(shop(name, { window: '2h' })),
    ]);
    const views = answers.map(({ changes }) => changes[2]?.newVersion);
    const { version, previousVersions } = await world.shown('FEATURE_VIEW', name);
    expect([version, ...previousVersions].sort()).toEqual(views.sort());
  }
});

test('a view that arrives while its source leaves never stays without it', async () => {
  for (let round = 0; round < 8; round++) {
    const name = `race${round}`;
    const [entity = '', source = '', view = ''] = shop(name).split('---');
    await world.apply(`${entity}---${source}`);
    const [arrives, leaves] = await Promise.allSettled([
      world.apply(view),
      other.apply('', { removals: [`source/${name}`] }),
    ]);
    expect([arrives.status, leaves.status].sort()).toEqual(['fulfilled', 'rejected']);
    const refused = arrives.status === 'rejected' ? arrives.reason : leaves.status === 'rejected' && leaves.reason;
    expect(['INVALID_DEFINITION', 'BREAKS_CONSUMERS']).toContain((refused as { reason: string }).reason);
  }
  await eventually(async () =>
    expect(watch.current().sources.size).toBe(
      Object.keys(await world.versions()).filter((path) => path.startsWith('source/')).length,
    ),
  );
  expectConsistent(watch.current());
});

test('a crash amid applies keeps everything acknowledged, and the one under way whole or not at all', async () => {
  const acknowledged: string[] = [];
  const applying = (async () => {
    for (let at = 0; ; at++) {
      await world.apply(shop(`crash${at}`));
      acknowledged.push(`crash${at}`);
    }
  })().catch((error: unknown) => error);
  await eventually(() => acknowledged.length >= 10, { everyMs: 1 });
  await world.service.kill9();
  expect(await applying).toMatchObject({ reason: 'SERVICE_UNAVAILABLE', code: 14 });
  await world.service.restart();
  const paths = Object.keys(await eventually(() => world.versions()));
  const kindsOf = (name: string) => paths.filter((path) => path.endsWith(`/${name}`)).length;
  for (const name of acknowledged) expect(kindsOf(name), name).toBe(4);
  expect([0, 4]).toContain(kindsOf(`crash${acknowledged.length}`));
  expect(kindsOf('watched')).toBe(4);
  const { changes } = await world.apply(shop('watched', { window: '5h' }));
  expect(actions(changes)).toEqual(everyKind('UNCHANGED', 'watched'));
  await eventually(async () => expect(await other.versions()).toEqual(await world.versions()));
});

test('many applies at once through one process all come about, each whole', async () => {
  const names = Array.from({ length: 24 }, (_, at) => `crowd${at}`);
  const answers = await Promise.all(names.map((name) => world.apply(shop(name))));
  expect(new Set(answers.map(({ revision }) => revision)).size).toBe(names.length);
  const paths = Object.keys(await world.versions());
  for (const name of names) expect(paths.filter((path) => path.endsWith(`/${name}`)).length, name).toBe(4);
});

test('applies over the limit of those waiting are refused with a time to come back, the others come about', async () => {
  const settled = await Promise.allSettled(Array.from({ length: 130 }, () => world.apply(shop('queue'))));
  const refused = settled.flatMap((result) => (result.status === 'rejected' ? [result.reason as MeshError] : []));
  expect(refused.length).toBeGreaterThan(0);
  expect(refused.length).toBeLessThanOrEqual(30);
  for (const reason of refused) {
    expect(await refusal(Promise.reject(reason))).toMatchObject({ status: 8, reason: 'OVERLOADED' });
    expect(reason.retryAfterMs).toBe(1_000);
  }
  expect(await world.versions()).toHaveProperty('featureService/queue');
});

test('while NATS is away calls are refused as unavailable, and answered again once it is back', async () => {
  const before = await world.versions();
  await world.mesh.nats.kill9();
  const unavailable = { status: 14, reason: 'STORE_UNAVAILABLE' };
  expect(await refusal(world.plan(shop('away')))).toMatchObject(unavailable);
  expect(await refusal(world.apply(shop('away')))).toMatchObject(unavailable);
  expect(await refusal(world.shown('ENTITY', 'watched'))).toMatchObject(unavailable);
  await world.mesh.nats.restart();
  expect(await eventually(() => world.versions())).toEqual(before);
  const { revision } = await world.apply(shop('back'));
  await eventually(() => watch.current().revision === Number(revision), { timeoutMs: 5_000 });
  expectConsistent(watch.current());
});

/** What every reader relies on: nothing current refers to what is not there. */
function expectConsistent(snapshot: RegistrySnapshot): void {
  for (const [name, { spec }] of snapshot.views) {
    expect([...snapshot.sources.keys()], `source of view "${name}"`).toContain(spec.source);
    expect([...snapshot.entities.keys()], `entity of view "${name}"`).toContain(spec.entity);
    expect(viewDefinition(snapshot, name).source).toBe(spec.source);
  }
  for (const { spec } of snapshot.services.values())
    for (const { view, viewVersion } of spec.features)
      expect(viewDefinition(snapshot, view, viewVersion).version).toBe(viewVersion);
}
