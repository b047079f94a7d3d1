import type { KV, KvEntry } from '@nats-io/kv';
import type { NatsLink } from './link.ts';

const retryMs = 200;

/** Takes an entry as known, unless a newer one of its key is. */
export type TakeEntry<T> = (key: string, value: T, revision: number) => void;

/**
 * Tells what JSON a KV bucket holds, and what it holds from then on, until the signal aborts: each key's newest entry once, never an older one
 * after it. A watch tells at once; a look every so often covers a watch that was lost with its server. Deletions are not told.
 *
 * @param key only this one; left out: all
 * @returns once what is there has been told; what this process writes can be taken without waiting for the watch
 */
export async function followBucket<T>(
  kv: KV,
  { nc }: NatsLink,
  options: { readonly signal: AbortSignal; readonly lookEveryMs: number; readonly key?: string },
  onEntry: (key: string, value: T, revision: number) => void,
): Promise<TakeEntry<T>> {
  const { signal, lookEveryMs, key } = options;
  const revisions = new Map<string, number>();

  const take: TakeEntry<T> = (name, value, revision) => {
    if (revision <= (revisions.get(name) ?? 0)) return;
    revisions.set(name, revision);
    onEntry(name, value, revision);
  };
  const takeEntry = (entry: KvEntry | null) => {
    if (entry?.operation === 'PUT') take(entry.key, entry.json<T>(), entry.revision);
  };

  async function look(): Promise<void> {
    if (key !== undefined) return takeEntry(await kv.get(key));
    for await (const name of await kv.keys()) takeEntry(await kv.get(name));
  }

  async function watch(): Promise<void> {
    while (!signal.aborted && !nc.isClosed()) {
      try {
        const entries = await kv.watch(key === undefined ? {} : { key });
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
  return take;
}
