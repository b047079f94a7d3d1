import type { EntityState } from '@millrace/features';
import { hash32 } from '@millrace/kernel';

/** One entity's state in one view, with what its row has to say about itself. */
export type Cell = {
  readonly key: string;
  state: EntityState;
  /** What takes the state's place once history has told the events before it; live events go into both. */
  rebuilding: EntityState | null;
  /** It has no event, or none that is left: it has no row. */
  isGone: boolean;
  /** The position of the last event that is in the state. */
  position: number;
  /** The known time of the newest event that is in the state. */
  knownTimeUs: number;
  /** The row in Redis is behind the state, and nobody has begun to make it. */
  rowDirty: boolean;
  /** The state has changed since it was last encoded for the store. */
  unsaved: boolean;
  /** How many commits that are not done yet hold it. */
  saving: number;
  /** What was last encoded of it had no event left. */
  savedGone: boolean;
  /** Events since then that were too late for every window. */
  droppedUnsaved: number;
  /** The eviction round in which the cell was last touched. */
  usedRound: number;
  /** An event has come since the row was last written. */
  fresh: boolean;
};

/** The part of a view's entities whose keys hash to one number: the unit that a larger installation would spread. */
export class Shard {
  readonly cells = new Map<string, Cell>();
  #rowDirty: Cell[] = [];

  get rowDirtyCount(): number {
    return this.#rowDirty.length;
  }

  markRow(cell: Cell): void {
    if (cell.rowDirty) return;
    cell.rowDirty = true;
    this.#rowDirty.push(cell);
  }

  /** Takes every cell whose row is behind, oldest first. Each counts as behind, and is not taken again, until `rowDirty` is false. */
  takeRowDirty(): readonly Cell[] {
    const taken = this.#rowDirty;
    this.#rowDirty = [];
    return taken;
  }

  rowDirtyCells(): readonly Cell[] {
    return this.#rowDirty;
  }

  /** Forgets up to `excess` clean cells that were not touched in the last round; gives back how many. */
  evict(excess: number, round: number): number {
    let evicted = 0;
    for (const [key, cell] of this.cells) {
      if (evicted >= excess) break;
      const isKept = cell.rowDirty || cell.unsaved || cell.saving > 0 || cell.rebuilding !== null;
      if (isKept || cell.usedRound >= round - 1) continue;
      this.cells.delete(key);
      evicted++;
    }
    return evicted;
  }
}

/** The shard of an entity key among `count`. */
export function shardOf(entityKey: string, count: number): number {
  return hash32(entityKey) % count;
}
