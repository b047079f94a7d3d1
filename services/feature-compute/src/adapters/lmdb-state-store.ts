import { open } from 'lmdb';
import type { SavedState, StateStore } from '../app/state-store.ts';
import type { CheckpointMeta } from '../domain/view-record.ts';

const metaKey = 'checkpoint';

/**
 * The durable state: one LMDB environment with `states` (`<view id> <entity key>` → saved cell) and `meta`. A commit is one
 * transaction, so the position in the stream and the states can never disagree; a thread of LMDB's own writes it.
 */
export function openLmdbStateStore(options: { readonly path: string; readonly mapBytesMax: number }): StateStore {
  const root = open({ path: options.path, maxDbs: 4, mapSize: options.mapBytesMax, encoding: 'binary' });
  const states = root.openDB<Buffer, string>({ name: 'states', encoding: 'binary' });
  const meta = root.openDB<CheckpointMeta | string, string>({ name: 'meta', encoding: 'json' });

  return {
    readMeta: () => meta.get(metaKey) as CheckpointMeta | undefined,
    readNote: (name) => meta.get(`note:${name}`) as string | undefined,
    writeNote: async (name, value) => {
      await meta.put(`note:${name}`, value);
    },
    readState: (viewId, entityKey) => states.getBinary(stateKey(viewId, entityKey)),
    commit: async (changed: readonly SavedState[], next: CheckpointMeta) => {
      await root.batch(() => {
        for (const { viewId, entityKey, bytes } of changed) void states.put(stateKey(viewId, entityKey), bytes);
        void meta.put(metaKey, next);
      });
      states.resetReadTxn();
    },
    scan: (viewId, after, limit) => {
      const prefix = `${viewId} `;
      const start = after === undefined ? prefix : stateKey(viewId, after);
      const found: { entityKey: string; bytes: Buffer }[] = [];
      for (const { key, value } of states.getRange({ start, end: `${viewId}!`, limit: limit + 1 })) {
        const entityKey = key.slice(prefix.length);
        if (entityKey !== after && found.length < limit) found.push({ entityKey, bytes: Buffer.from(value) });
      }
      return found;
    },
    remove: async (viewId, entityKeys) => {
      await root.batch(() => {
        for (const entityKey of entityKeys) void states.remove(stateKey(viewId, entityKey));
      });
      states.resetReadTxn();
    },
    close: async () => {
      await root.close();
    },
  };
}

function stateKey(viewId: string, entityKey: string): string {
  return `${viewId} ${entityKey}`;
}
