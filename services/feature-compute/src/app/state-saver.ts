import { type Arena, createArena } from '../domain/arena.ts';
import type { Cell } from '../domain/cells.ts';
import type { CheckpointMeta } from '../domain/view-record.ts';
import type { Engine } from './engine.ts';
import type { SavedState } from './state-store.ts';

/** What one commit writes. `done` is to be called when it is in the store, before the next begins. */
export type Commit = {
  readonly changed: readonly SavedState[];
  readonly meta: CheckpointMeta;
  done(): void;
};

export type StateSaver = {
  /** Bytes that are encoded and wait for the next commit. */
  bytes(): number;
  /** Encodes states, those first that have been behind for longest, up to so many or until a time of `performance.now()`, but one at least; how many. */
  encode(statesMax: number, endMs: number): number;
  /** Takes what is encoded. Each state is as of when it was encoded; the position is one that none is before. */
  begin(inFlight: ReadonlyMap<string, readonly string[]>): Commit;
};

type Batch = { readonly arena: Arena; readonly changed: SavedState[]; readonly cells: Cell[]; bytes: number };

/** Encodes states for the store a few at a time, into memory that is used again: while one commit is written the next is put together. */
export function createStateSaver(engine: Engine): StateSaver {
  let [batch, spare] = [newBatch(createArena()), createArena()];

  function encodeOne(): boolean {
    const next = engine.takeUnsaved();
    if (next === undefined) return false;
    const { viewId, cells, cell } = next;
    const bytes = cells.encode(cell, batch.arena.take);
    // until it is committed the store has an older one
    cell.saving++;
    batch.changed.push({ viewId, entityKey: cell.key, bytes });
    batch.cells.push(cell);
    batch.bytes += bytes.length;
    return true;
  }

  return {
    bytes: () => batch.bytes,
    encode: (statesMax, endMs) => {
      let encoded = 0;
      while (encoded < statesMax && encodeOne()) {
        encoded++;
        if (performance.now() >= endMs) break;
      }
      return encoded;
    },
    begin: (inFlight) => {
      const { arena, changed, cells } = batch;
      const meta = engine.checkpointMeta(inFlight);
      spare.reset();
      batch = newBatch(spare);
      return {
        changed,
        meta,
        done: () => {
          for (const cell of cells) cell.saving--;
          spare = arena;
        },
      };
    },
  };
}

function newBatch(arena: Arena): Batch {
  return { arena, changed: [], cells: [], bytes: 0 };
}
