import type { ViewDefinition } from '@millrace/features';
import { open } from 'lmdb';
import type { SavedState, StateStore } from '../app/state-store.ts';
import type { CheckpointMeta, ViewRecord } from '../domain/view-record.ts';

type SavedRecord = Omit<ViewRecord, 'definition'> & { readonly definition?: ViewDefinition };
type SavedMeta = Omit<CheckpointMeta, 'views'> & { readonly views: Readonly<Record<string, SavedRecord>> };

const metaKey = 'checkpoint';
const definitionKey = (viewId: string): string => `definition:${viewId}`;

/**
 * The durable state: one LMDB environment with `states` (`<view id> <entity key>` → saved cell) and `meta`. A commit is one
 * transaction, so the position in the stream and the states can never disagree; a thread of LMDB's own writes it. The definitions of views
 * are by far the most of a checkpoint and never change: each is written once, under its view's id.
 */
export function openLmdbStateStore(options: { readonly path: string; readonly mapBytesMax: number }): StateStore {
  const root = open({ path: options.path, maxDbs: 4, mapSize: options.mapBytesMax, encoding: 'binary' });
  const states = root.openDB<Buffer, string>({ name: 'states', encoding: 'binary' });
  const meta = root.openDB<SavedMeta | ViewDefinition | string, string>({ name: 'meta', encoding: 'json' });
  /** Those that the last commit left in the store, by view id. */
  let written: ReadonlyMap<string, ViewDefinition> = new Map();

  function putMeta(next: CheckpointMeta): ReadonlyMap<string, ViewDefinition> {
    const definitions = new Map<string, ViewDefinition>();
    const views: Record<string, SavedRecord> = {};
    for (const [id, { definition, ...record }] of Object.entries(next.views)) {
      views[id] = record;
      definitions.set(id, definition);
      if (written.get(id) !== definition) void meta.put(definitionKey(id), definition);
    }
    for (const id of written.keys()) if (!definitions.has(id)) void meta.remove(definitionKey(id));
    void meta.put(metaKey, { ...next, views });
    return definitions;
  }

  function readMeta(): CheckpointMeta | undefined {
    const saved = meta.get(metaKey) as SavedMeta | undefined;
    if (saved === undefined) return undefined;
    const apart = new Map<string, ViewDefinition>();
    const views = Object.entries(saved.views).map(([id, record]): [string, ViewRecord] => {
      // before definitions had a place of their own they were in the record
      if (record.definition !== undefined) return [id, { ...record, definition: record.definition }];
      const definition = meta.get(definitionKey(id)) as ViewDefinition;
      apart.set(id, definition);
      return [id, { ...record, definition }];
    });
    written = apart;
    return { ...saved, views: Object.fromEntries(views) };
  }

  return {
    readMeta,
    readNote: (name) => meta.get(`note:${name}`) as string | undefined,
    writeNote: async (name, value) => {
      await meta.put(`note:${name}`, value);
    },
    readState: (viewId, entityKey) => states.getBinary(stateKey(viewId, entityKey)),
    commit: async (changed: readonly SavedState[], next: CheckpointMeta) => {
      let definitions = written;
      await root.batch(() => {
        for (const { viewId, entityKey, bytes } of changed) void states.put(stateKey(viewId, entityKey), bytes);
        definitions = putMeta(next);
      });
      written = definitions;
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
