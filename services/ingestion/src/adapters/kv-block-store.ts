import { followBucket, type NatsLink } from '@millrace/events';
import { MeshError } from '@millrace/kernel';
import { Kvm } from '@nats-io/kv';
import type { BlockStore, SourceBlock } from '../app/source-blocks.ts';

const lookEveryMs = 5_000;

/** The KV bucket `BLOCKS`: `<source>.<expectation>` → its last block, followed by every process; the last 64 states of each are kept. */
export async function openBlockStore(
  link: NatsLink,
  { signal }: { readonly signal: AbortSignal },
): Promise<BlockStore> {
  const kv = await new Kvm(link.js).create('BLOCKS', { history: 64 });
  const bySource = new Map<string, Map<string, SourceBlock>>();
  const take = await followBucket<SourceBlock>(kv, link, { signal, lookEveryMs }, (_, block) => {
    const ofSource = bySource.get(block.source) ?? new Map<string, SourceBlock>();
    bySource.set(block.source, ofSource.set(block.expectation, block));
  });

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
