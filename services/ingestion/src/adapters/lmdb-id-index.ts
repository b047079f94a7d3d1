import { open } from 'lmdb';
import { type IdIndex, type IndexMark, idKey, type SourceTally } from '../app/id-index.ts';

type Meta = {
  readonly position: number;
  readonly tallies: Readonly<Record<string, SourceTally>>;
  /** Which of the two generations takes new ids, and how many it has taken. */
  readonly active: 0 | 1;
  readonly taken: number;
};

const metaKey = 'mark';
const empty: Meta = { position: 0, tallies: {}, active: 0, taken: 0 };

/**
 * Event ids in LMDB: `<source>\n<id>` → 8 bytes of payload hash. Two generations bound its size: when the active one has taken
 * `idsPerGeneration`, the other is emptied and becomes active, so at least that many of the latest ids are always known. Puts
 * of one turn share a transaction; were one ever torn, the mark would be the older one and the tail be recorded again.
 */
export function openLmdbIdIndex(options: {
  readonly path: string;
  readonly mapBytesMax: number;
  readonly idsPerGeneration: number;
}): IdIndex {
  const root = open({ path: options.path, maxDbs: 4, mapSize: options.mapBytesMax, encoding: 'binary' });
  const generations = [0, 1].map((at) => root.openDB<Buffer, string>({ name: `ids-${at}`, encoding: 'binary' }));
  const metas = root.openDB<Meta, string>({ name: 'meta', encoding: 'json' });
  const lanes = new Uint32Array(2);
  let meta: Meta = metas.get(metaKey) ?? empty;

  const generation = (at: number) => generations[at] as (typeof generations)[0];

  function lookUp(at: number, key: string): Uint32Array | undefined {
    const bytes = generation(at).getBinaryFast(key);
    if (bytes === undefined) return undefined;
    lanes[0] = bytes.readUInt32LE(0);
    lanes[1] = bytes.readUInt32LE(4);
    return lanes;
  }

  return {
    mark: (): IndexMark => meta,
    find: (key) => lookUp(meta.active, key) ?? lookUp(1 - meta.active, key),
    async record(messages, mark) {
      let { active, taken } = meta;
      const puts: Promise<unknown>[] = [];
      for (const { position, batch } of messages) {
        if (position <= meta.position) continue;
        if (taken >= options.idsPerGeneration) {
          active = active === 0 ? 1 : 0;
          taken = 0;
          puts.push(generation(active).clearAsync());
        }
        const hashes = Buffer.from(batch.payloadHashes.buffer, batch.payloadHashes.byteOffset, batch.count * 8);
        for (let row = 0; row < batch.count; row++) {
          const key = idKey(batch.source, batch.ids[row] as string);
          void generation(active).put(key, hashes.subarray(row * 8, row * 8 + 8));
        }
        taken += batch.count;
      }
      const next: Meta = { position: mark.position, tallies: mark.tallies, active, taken };
      puts.push(metas.put(metaKey, next));
      await Promise.all(puts);
      meta = { ...next, tallies: structuredClone(next.tallies) };
    },
    async wipe() {
      await Promise.all([generation(0).clearAsync(), generation(1).clearAsync(), metas.put(metaKey, empty)]);
      meta = empty;
    },
    close: async () => {
      await root.close();
    },
  };
}
