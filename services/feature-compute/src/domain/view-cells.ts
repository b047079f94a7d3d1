import { type CompiledView, compileView, type EventColumns, type ViewDefinition } from '@millrace/features';
import { type Cell, Shard, shardOf } from './cells.ts';
import { decodeSavedCell, encodeSavedCell } from './saved-cell.ts';
import type { Unsaved } from './unsaved.ts';

/** The store refuses keys beyond 1,978 bytes, the view's id included. */
export const entityKeyBytesMax = 1_700;

export type CellLoader = (entityKey: string) => Buffer | undefined;

/** `dropped` are among the applied: older than every window of the view. What the states had already, after a restart, is in none of the counts. */
export type AppliedBatch = {
  readonly applied: number;
  readonly created: number;
  readonly skipped: number;
  readonly dropped: number;
};

/** The working set of one view version: its entities' states, spread over shards. Pure but for the loader it is given. */
export class ViewCells {
  /** Of the view version. */
  readonly id: string;
  readonly view: CompiledView;
  readonly shards: readonly Shard[];
  readonly #load: CellLoader;
  readonly #unsaved: Unsaved<ViewCells>;
  #count = 0;
  #round = 1;

  constructor(
    definition: ViewDefinition,
    options: {
      readonly id: string;
      readonly shards: number;
      readonly load: CellLoader;
      readonly unsaved: Unsaved<ViewCells>;
    },
  ) {
    this.id = options.id;
    this.view = compileView(definition);
    this.shards = Array.from({ length: options.shards }, () => new Shard());
    this.#load = options.load;
    this.#unsaved = options.unsaved;
  }

  /** Cells in memory. */
  get count(): number {
    return this.#count;
  }

  get rowDirtyCount(): number {
    return this.shards.reduce((sum, shard) => sum + shard.rowDirtyCount, 0);
  }

  /**
   * Applies every new event of a batch, each to its entity's state. Events without a usable key are skipped and counted; one that takes another's
   * place, or deletes it, is left to the rebuilding of the entities that had it or have it now. `isAgain`: after a restart a state may have been saved
   * later than the position that the stream is read from, and what it reflects is passed over.
   */
  applyBatch(
    columns: EventColumns & { readonly changes?: { readonly operations: Uint8Array } },
    seq: number,
    knownTimeUs: number,
    isAgain = false,
  ): AppliedBatch {
    const bound = this.view.bind(columns);
    const { eventTimeUs, count } = columns;
    const operations = columns.changes?.operations;
    let created = 0;
    let skipped = 0;
    let dropped = 0;
    let seen = 0;
    /** Those that do not have this message yet: it has one position, and may have many events of an entity. */
    const behind = isAgain ? new Set<Cell>() : undefined;
    for (let i = 0; i < count; i++) {
      if (operations !== undefined && operations[i] !== 0) {
        skipped++;
        continue;
      }
      const entityKey = bound.entityKey(i);
      if (entityKey === null || entityKey.length > entityKeyBytesMax) {
        skipped++;
        continue;
      }
      const shard = this.#shardOf(entityKey);
      let cell = shard.cells.get(entityKey);
      cell ??= this.#open(shard, entityKey);
      if (behind !== undefined && cell.position >= seq && !behind.has(cell)) {
        seen++;
        // whether its row was written before the crash nobody knows
        shard.markRow(cell);
        continue;
      }
      behind?.add(cell);
      if (cell.isGone) {
        cell.isGone = false;
        created++;
      }
      this.changed(cell, seq);
      if (cell.rebuilding !== null) this.view.apply(cell.rebuilding, bound, i, eventTimeUs[i] ?? 0, seq, i);
      if (this.view.apply(cell.state, bound, i, eventTimeUs[i] ?? 0, seq, i) === 'dropped') {
        dropped++;
        cell.droppedUnsaved++;
      }
      cell.position = seq;
      if (knownTimeUs > cell.knownTimeUs) cell.knownTimeUs = knownTimeUs;
      cell.usedRound = this.#round;
      cell.fresh = true;
      shard.markRow(cell);
    }
    return { applied: count - skipped - seen, created, skipped, dropped };
  }

  /** To be called with every change of a cell's state: the position is the first that the state in the store does not reflect. */
  changed(cell: Cell, position: number): void {
    if (!cell.unsaved) this.#unsaved.mark(this, cell, position);
  }

  /** The cell of an entity, from memory, the store, or new. */
  cell(entityKey: string): { readonly cell: Cell; readonly shard: Shard } {
    const shard = this.#shardOf(entityKey);
    return { shard, cell: shard.cells.get(entityKey) ?? this.#open(shard, entityKey) };
  }

  inMemory(entityKey: string): boolean {
    return this.#shardOf(entityKey).cells.has(entityKey);
  }

  /** A cell outside the working set, decoded from its saved bytes. */
  decode(entityKey: string, bytes: Buffer): Cell {
    const saved = decodeSavedCell(bytes);
    const state = this.view.decodeState(saved.state);
    const cell = newCell(entityKey, state, saved.position, saved.knownTimeUs);
    cell.isGone = this.view.isEmpty(state);
    cell.savedGone = cell.isGone;
    return cell;
  }

  /** Into bytes of their own unless told where from. */
  encode(cell: Cell, take: (bytes: number) => Buffer = Buffer.allocUnsafe): Buffer {
    const encodeState = (allocate: (bytes: number) => Buffer) => this.view.encodeState(cell.state, allocate);
    return encodeSavedCell(cell.position, cell.knownTimeUs, encodeState, take);
  }

  /** Empty where there is none to be. In memory of its own unless told where from. */
  row(cell: Cell, frontierUs: number, nowUs: number, take: (bytes: number) => Buffer = Buffer.allocUnsafe): Buffer {
    if (cell.isGone) return noRow;
    this.view.settle(cell.state, frontierUs, nowUs);
    return this.view.writeRow(cell.state, { position: cell.position, knownTimeUs: cell.knownTimeUs }, take);
  }

  markAllRows(): void {
    for (const shard of this.shards) for (const cell of shard.cells.values()) shard.markRow(cell);
  }

  /** Forgets clean cells until at most `limit` are left, as far as the recently used allow. Starts a new round. */
  evictTo(limit: number): number {
    let excess = this.#count - limit;
    let evicted = 0;
    for (const shard of this.shards) {
      if (excess <= 0) break;
      const gone = shard.evict(excess, this.#round);
      excess -= gone;
      evicted += gone;
    }
    this.#count -= evicted;
    this.#round++;
    return evicted;
  }

  #shardOf(entityKey: string): Shard {
    const shard = this.shards[shardOf(entityKey, this.shards.length)];
    if (shard === undefined) throw new RangeError('a view has at least one shard');
    return shard;
  }

  #open(shard: Shard, entityKey: string): Cell {
    const bytes = this.#load(entityKey);
    const cell = bytes === undefined ? newCell(entityKey, this.view.newState(), 0, 0) : this.decode(entityKey, bytes);
    shard.cells.set(entityKey, cell);
    this.#count++;
    return cell;
  }
}

const noRow = Buffer.alloc(0);

function newCell(key: string, state: Cell['state'], position: number, knownTimeUs: number): Cell {
  return {
    key,
    state,
    rebuilding: null,
    isGone: true,
    position,
    knownTimeUs,
    rowDirty: false,
    unsaved: false,
    saving: 0,
    savedGone: true,
    droppedUnsaved: 0,
    usedRound: 0,
    fresh: false,
  };
}
