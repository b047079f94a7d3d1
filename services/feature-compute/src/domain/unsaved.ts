import type { Cell } from './cells.ts';

/** A state that is behind in the store; `cells` are the view's that it is one of. */
export type UnsavedCell<View> = {
  readonly cells: View;
  readonly cell: Cell;
  /** The first position that the store's state does not reflect. */
  readonly fromPosition: number;
};

const compactFrom = 1_024;

/**
 * The states of all views that are behind in the store, in the order in which they fell behind. Marks are counted, and so is what was taken: whatever was
 * marked before `marks` was m is taken once `taken` is m.
 */
export class Unsaved<View> {
  #queue: UnsavedCell<View>[] = [];
  #next = 0;
  #taken = 0;

  get count(): number {
    return this.#queue.length - this.#next;
  }

  get taken(): number {
    return this.#taken;
  }

  get marks(): number {
    return this.#taken + this.count;
  }

  /** Positions never fall from one mark to the next. */
  mark(cells: View, cell: Cell, fromPosition: number): void {
    if (cell.unsaved) return;
    cell.unsaved = true;
    this.#queue.push({ cells, cell, fromPosition });
  }

  /** Takes the one that has waited longest; what changes from now on marks it again. */
  take(): UnsavedCell<View> | undefined {
    const taken = this.#queue[this.#next];
    if (taken === undefined) return undefined;
    taken.cell.unsaved = false;
    this.#next++;
    this.#taken++;
    if (this.#next >= compactFrom && 2 * this.#next >= this.#queue.length) {
      this.#queue = this.#queue.slice(this.#next);
      this.#next = 0;
    }
    return taken;
  }

  /** The first position that some state in the store does not reflect; undefined when none is behind. */
  oldestPosition(): number | undefined {
    return this.#queue[this.#next]?.fromPosition;
  }

  each(look: (unsaved: UnsavedCell<View>) => void): void {
    for (let at = this.#next; at < this.#queue.length; at++) look(this.#queue[at] as UnsavedCell<View>);
  }
}
