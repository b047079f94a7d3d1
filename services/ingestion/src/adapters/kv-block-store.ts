import type { NatsLink } from '@millrace/events';
import { MeshError } from '@millrace/kernel';
import { type KvEntry, Kvm } from '@nats-io/kv';
import type { BlockStore, SourceBlock } from '../app/source-blocks.ts';

/** A watch tells at once; the look every so often covers a watch that was lost with its server. */
const lookEveryMs = 5_000;
const retryMs = 200;

/** The KV bucket `BLOCKS`: `<source>.<expectation>` → its last block, followed by every process; the last 64 states of each are kept. */
export async function openBlockStore(
  { js, nc }: NatsLink,
  { signal }: { readonly signal: AbortSignal },
): Promise<BlockStore> {
  const kv = await new Kvm(js).create('BLOCKS', { history: 64 });
  const bySource = new Map<string, Map<string, SourceBlock>>();
  const revisions = new Map<string, number>();

  function take(key: string, block: SourceBlock, revision: number): void {
    if (revision <= (revisions.get(key) ?? 0)) return;
    revisions.set(key, revision);
    const ofSource = bySource.get(block.source) ?? new Map<string, SourceBlock>();
    bySource.set(block.source, ofSource.set(block.expectation, block));
  }
  const takeEntry = (entry: KvEntry | null) => {
    if (entry?.operation === 'PUT') take(entry.key, entry.json<SourceBlock>(), entry.revision);
  };

  async function look(): Promise<void> {
    for await (const key of await kv.keys()) takeEntry(await kv.get(key));
  }

  async function watch(): Promise<void> {
    while (!signal.aborted && !nc.isClosed()) {
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
    of: (source) => bySource.get(source)?.values() ?? [],
    *all() {
      for (const ofSource of bySource.values()) yield* ofSource.values();
    },
    async put(block) {
      const key = `${block.source}.${block.expectation}`;
      try {
        take(key, block, await kv.put(key, JSON.stringify(block)));
      } catch (cause) {
        throw new MeshError(
          'STORE_UNAVAILABLE',
          `the block of source "${block.source}" could not be written: ${(cause as Error).message}`,
          { source: block.source, expectation: block.expectation },
          { cause },
        );
      }
    },
  };
}
