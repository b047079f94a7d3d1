import { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { emptySnapshot } from '@millrace/registry';
import { expect, test } from 'vitest';
import { createRegistry, type DefinitionStore } from './registry.ts';

const user = definitions.Definition.fromPartial({
  name: 'user',
  file: 'user.ts',
  spec: {
    $case: 'entity',
    value: definitions.Entity.fromPartial({ joinKeys: [{ name: 'user', type: definitions.FieldType.STRING }] }),
  },
});

/** A store whose manifest someone else has moved at the first `overtaken` tries. */
function storeThat(overtaken: number, reason: 'CONCURRENT_CHANGE' | 'STORE_UNAVAILABLE' = 'CONCURRENT_CHANGE') {
  const seen: string[] = [];
  let tries = 0;
  const store: DefinitionStore = {
    read: async () => ({ snapshot: emptySnapshot, manifest: {}, revision: tries }),
    keep: async (kind, { name }) => void seen.push(`keep ${kind}/${name}`),
    keepView: async ({ name }) => void seen.push(`keep ${name}`),
    move: async (manifest, expected) => {
      seen.push(`move ${Object.keys(manifest)} at ${expected}`);
      if (tries++ < overtaken) throw new MeshError(reason, 'the registry moved');
      return expected + 1;
    },
    get: async () => undefined,
  };
  return { seen, registry: createRegistry({ store, nowUs: () => 1 }) };
}

test('an apply keeps its definitions before the manifest names them', async () => {
  const { seen, registry } = storeThat(0);
  expect((await registry.apply([user], [], false)).revision).toBe(1);
  expect(seen).toEqual(['keep entity/user', 'move entity/user at 0']);
});

test('an apply that is overtaken plans and moves again from where the registry is now, five times in all', async () => {
  const { seen, registry } = storeThat(4);
  expect((await registry.apply([user], [], false)).revision).toBe(5);
  expect(seen.filter((each) => each.startsWith('move'))).toEqual(
    [0, 1, 2, 3, 4].map((at) => `move entity/user at ${at}`),
  );
  await expect(storeThat(5).registry.apply([user], [], false)).rejects.toMatchObject({
    reason: 'CONCURRENT_CHANGE',
    code: 10,
  });
});

test('another failure is not tried again, and does not hold up the next apply', async () => {
  const { seen, registry } = storeThat(1, 'STORE_UNAVAILABLE');
  const both = [registry.apply([user], [], false), registry.apply([user], [], false)];
  const [first, second] = await Promise.allSettled(both);
  expect(first).toMatchObject({ status: 'rejected', reason: { reason: 'STORE_UNAVAILABLE' } });
  expect(second).toMatchObject({ status: 'fulfilled', value: { revision: 2 } });
  expect(seen).toHaveLength(4);
});

test('an apply over the limit of those waiting is refused at once, and there is room again afterwards', async () => {
  const { registry } = storeThat(0);
  const waiting = Array.from({ length: 100 }, () => registry.apply([user], [], false));
  await expect(registry.apply([user], [], false)).rejects.toMatchObject({ reason: 'OVERLOADED', retryAfterMs: 1_000 });
  await Promise.all(waiting);
  await registry.apply([user], [], false);
});
