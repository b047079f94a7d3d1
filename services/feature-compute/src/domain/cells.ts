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
  /** The saved state is behind the state. */
  stateDirty: boolean;
  /** A checkpoint has yet to encode the state as it is. */
  saving: boolean;
  /** The eviction round in which the cell was last touched. */
  usedRound: number;
  /** An event has come since the row was last written. */
  fresh: boolean;
};

/** The part of a view's entities whose keys hash to one number: the unit that a larger installation would spread. */
export class Shard {
  readonly cells = new Map<string, Cell>();
  #rowDirty: Cell[] = [];
  #stateDirty: Cell[] = [];

  get rowDirtyCount(): number {
    return this.#rowDirty.length;
  }

  get stateDirtyCount(): number {
    return this.#stateDirty.length;
  }

  markRow(cell: Cell): void {
    if (cell.rowDirty) return;
    cell.rowDirty = true;
    this.#rowDirty.push(cell);
  }

  /** For `ViewCells.willChange` alone, which lets a checkpoint that is under way have the state as it was first. */
  markStateBehind(cell: Cell): void {
    if (cell.stateDirty) return;
    cell.stateDirty = true;
    this.#stateDirty.push(cell);
  }

  /** Takes every cell whose row is behind, oldest first. Each counts as behind, and is not taken again, until `rowDirty` is false. */
  takeRowDirty(): readonly Cell[] {
    const taken = this.#rowDirty;
    this.#rowDirty = [];
    return taken;
  }

  /** Takes every cell whose saved state is behind; each is to be encoded before it changes. */
  takeStateDirty(): readonly Cell[] {
    const taken = this.#stateDirty;
    this.#stateDirty = [];
    for (const cell of taken) {
      cell.stateDirty = false;
      cell.saving = true;
    }
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
      const isKept = cell.rowDirty || cell.stateDirty || cell.saving || cell.rebuilding !== null;
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
