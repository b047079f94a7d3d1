import { createPublisher, type NatsLink, subjects } from '@millrace/events';
import { MeshError } from '@millrace/kernel';
import { type KvEntry, Kvm } from '@nats-io/kv';
import type { AliasStore } from '../app/aliases.ts';
import { type AliasRecord, noAliases } from '../domain/alias-record.ts';

const triesMax = 8;
/** A watch tells at once; the look every so often covers a watch that was lost with its server. */
const lookEveryMs = 2_000;
const retryMs = 200;

/** The KV bucket `MODEL_ALIASES` has a record for each model; changes are on the stream `ROLLOUT_DECISIONS` as well. */
export async function openAliasStore(link: NatsLink, signal: AbortSignal): Promise<AliasStore> {
  const kv = await new Kvm(link.js).create('MODEL_ALIASES', { history: 1 });
  const publisher = createPublisher(link, { maxInFlight: 64 });
  const known = new Map<string, { readonly record: AliasRecord; readonly revision: number }>();
  const listeners = new Set<() => void>();
  let records: ReadonlyMap<string, AliasRecord> = new Map();

  function take(model: string, record: AliasRecord, revision: number): void {
    if (revision <= (known.get(model)?.revision ?? 0)) return;
    known.set(model, { record, revision });
    records = new Map([...known].map(([name, one]) => [name, one.record]));
    for (const listener of listeners) listener();
  }
  const takeEntry = (entry: KvEntry | null) => {
    if (entry?.operation === 'PUT') take(entry.key, entry.json<AliasRecord>(), entry.revision);
  };

  async function look(): Promise<void> {
    for await (const key of await kv.keys()) takeEntry(await kv.get(key));
  }

  async function watch(): Promise<void> {
    while (!signal.aborted && !link.nc.isClosed()) {
      try {
        const entries = await kv.watch();
        const stop = () => entries.stop();
        signal.addEventListener('abort', stop, { once: true });
        for await (const entry of entries) takeEntry(entry);
        signal.removeEventListener('abort', stop);
      } catch {
        // NATS is away: try again
      }
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }

  await look();
  const looks = setInterval(() => void look().catch(() => undefined), lookEveryMs);
  signal.addEventListener('abort', () => clearInterval(looks), { once: true });
  void watch();

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
