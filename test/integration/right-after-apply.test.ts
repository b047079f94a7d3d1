import { allFeatures, double, entity, featureService, featureView, lifetime, source, string } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FullMesh, readRequest, startFullMesh, stringKeys } from '../support/full-mesh.ts';

let mesh: FullMesh;

beforeAll(async () => {
  mesh = await startFullMesh();
});

afterAll(() => mesh?.close());

const event = (id: string) => ({
  id,
  eventTimeUs: BigInt(Date.now()) * 1000n,
  json: Buffer.from('{"user":"u","amount":1}'),
});

test('what was applied is known to every service when the answer is there: nobody has to wait and try again', async () => {
  for (let round = 0; round < 10; round++) {
    const payments = source(`payments_${round}`, { key: 'user', fields: { user: string(), amount: double() } });
    const user = entity(`user_${round}`, { joinKeys: { user: 'STRING' } });
    const spend = featureView(`spend_${round}`, {
      entity: user,
      source: payments,
      features: (of) => ({ count: of.count({ window: lifetime() }) }),
    });
    const profile = featureService(`profile_${round}`, { features: [allFeatures(spend)] });
    await mesh.apply(payments, user, spend, profile);
    const [published, progress, read] = await Promise.all([
      mesh.clients.ingestion.publish({ source: `payments_${round}`, events: [event(`e${round}`)] }),
      mesh.clients.ingestion.getProgress({ source: `payments_${round}` }),
      mesh.clients.features.getFeatures(readRequest(`profile_${round}`, [stringKeys('user', ['u'])], 0)),
    ]);
    expect(published.accepted).toBe(1);
    expect(progress.sources.length).toBe(1);
    expect(read.statuses.length).toBe(1);
  }
});

test('a name that nobody applied is still refused, also by many at once', async () => {
  const refused = await Promise.allSettled(
    Array.from({ length: 200 }, () => mesh.clients.ingestion.publish({ source: 'nothing', events: [event('x')] })),
  );
  for (const one of refused) expect(one).toMatchObject({ reason: { reason: 'UNKNOWN_SOURCE' } });
  await eventually(async () => {
    await expect(
      mesh.clients.features.getFeatures(readRequest('nothing', [stringKeys('user', ['u'])], 0)),
    ).rejects.toMatchObject({ reason: 'UNKNOWN_FEATURE_SERVICE' });
  });
});
