import { open } from 'lmdb';
import { type IdIndex, type IndexMark, idKey, type RecordedId, type SourceTally } from '../app/id-index.ts';

type Meta = {
  readonly position: number;
  readonly tallies: Readonly<Record<string, SourceTally>>;
  /** Which of the two generations takes new ids, and how many it has taken. */
  readonly active: 0 | 1;
  readonly taken: number;
  /** A generation with ids in it was emptied, or messages of the stream were never seen. */
  readonly forgotten?: boolean;
};

const metaKey = 'mark';
const empty: Meta = { position: 0, tallies: {}, active: 0, taken: 0 };

/**
 * Event ids in LMDB: `<source>\n<id>` → 8 bytes of payload hash, and 8 of the publisher's number where there is one. Two generations bound its size: when the active one has taken
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
  let meta: Meta = metas.get(metaKey) ?? empty;

  const generation = (at: number) => generations[at] as (typeof generations)[0];

  function lookUp(at: number, key: string): RecordedId | undefined {
    const bytes = generation(at).getBinaryFast(key);
    if (bytes === undefined) return undefined;
    const sequence = bytes.length < 16 ? 0n : bytes.readBigUInt64LE(8);
    return { lo: bytes.readUInt32LE(0), hi: bytes.readUInt32LE(4), sequence };
  }

  return {
    mark: (): IndexMark => meta,
    find: (key) => lookUp(meta.active, key) ?? lookUp(1 - meta.active, key),
    hasForgotten: () => meta.forgotten === true,
    markForgotten: () => {
      meta = { ...meta, forgotten: true };
    },
    async record(messages, mark) {
      let { active, taken, forgotten = false } = meta;
      const puts: Promise<unknown>[] = [];
      for (const { position, batch } of messages) {
        if (position <= meta.position) continue;
        if (taken >= options.idsPerGeneration) {
          active = active === 0 ? 1 : 0;
          taken = 0;
          // the first time the other one is empty; it takes one change too many for that, which only costs look-ups
          forgotten = true;
          puts.push(generation(active).clearAsync());
        }
        const hashes = Buffer.from(batch.payloadHashes.buffer, batch.payloadHashes.byteOffset, batch.count * 8);
        const sequences = batch.changes?.sequences;
        for (let row = 0; row < batch.count; row++) {
          const key = idKey(batch.source, batch.ids[row] as string);
          const hash = hashes.subarray(row * 8, row * 8 + 8);
          void generation(active).put(key, sequences ? Buffer.concat([hash, numberBytes(sequences[row])]) : hash);
        }
        taken += batch.count;
      }
      const next: Meta = { position: mark.position, tallies: mark.tallies, active, taken, forgotten };
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

function numberBytes(sequence = 0n): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64LE(sequence);
  return bytes;
}
