import { createPublisher, followBucket, type NatsLink, subjects } from '@millrace/events';
import { MeshError } from '@millrace/kernel';
import { Kvm } from '@nats-io/kv';
import type { AliasStore } from '../app/aliases.ts';
import { type AliasRecord, noAliases } from '../domain/alias-record.ts';

const triesMax = 8;
const lookEveryMs = 2_000;

/** The KV bucket `MODEL_ALIASES` has a record for each model; changes are on the stream `ROLLOUT_DECISIONS` as well. */
export async function openAliasStore(link: NatsLink, signal: AbortSignal): Promise<AliasStore> {
  const kv = await new Kvm(link.js).create('MODEL_ALIASES', { history: 1 });
  const publisher = createPublisher(link, { maxInFlight: 64 });
  const listeners = new Set<() => void>();
  let records: ReadonlyMap<string, AliasRecord> = new Map();
  const take = await followBucket<AliasRecord>(kv, link, { signal, lookEveryMs }, (model, record) => {
    records = new Map(records).set(model, record);
    for (const listener of listeners) listener();
  });

  return {
    records: () => records,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async move(model, change) {
      for (let attempt = 1; ; attempt++) {
        const entry = await kv.get(model).catch((cause) => {
          throw unavailable(cause);
        });
        const isThere = entry?.operation === 'PUT';
        const before = isThere ? entry.json<AliasRecord>() : noAliases(model);
        const after = change(before);
        if (!after) return before;
        const bytes = JSON.stringify(after);
        try {
          const revision = await (isThere ? kv.update(model, bytes, entry.revision) : kv.create(model, bytes));
          take(model, after, revision);
          return after;
        } catch (cause) {
          const newest = await kv.get(model).catch(() => undefined);
          if (newest?.revision === entry?.revision) throw unavailable(cause);
          if (attempt === triesMax)
            throw new MeshError(
              'CONCURRENT_CHANGE',
              `aliases of model "${model}" are being changed by others; try again`,
              { model },
              { cause },
            );
        }
      }
    },
    async audit(change) {
      await publisher.publish(subjects.aliases(change.model), Buffer.from(JSON.stringify(change)), { signal });
    },
  };
}

function unavailable(cause: unknown): MeshError {
  return new MeshError(
    'STORE_UNAVAILABLE',
    `aliases could not be changed: ${(cause as Error).message}`,
    {},
    {
      cause,
    },
  );
}
