import { type Changes, type DecodedBatch, operations } from '@millrace/events';
import type { ViewDefinition } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import { Frontiers } from '../domain/frontiers.ts';
import { Retractions, type SavedRetractions } from '../domain/retractions.ts';
import { Unsaved, type UnsavedCell } from '../domain/unsaved.ts';
import { ViewCells } from '../domain/view-cells.ts';
import { type CheckpointMeta, type ViewPhase, type ViewRecord, viewId } from '../domain/view-record.ts';
import type { StateStore } from './state-store.ts';

/** Beyond this many entities with rows behind, a checkpoint says `all` rather than list them. */
const pendingRowsListedMax = 10_000;

/** A view version in this process. */
export type ActiveView = {
  readonly id: string;
  readonly record: ViewRecord;
  readonly cells: ViewCells;
  /** What its states do not reflect yet of the events up to the engine's position. */
  readonly retractions: Retractions;
  /** False while history is being read: a row must never show half a window. */
  rowsEnabled: boolean;
  /** True until every row of the view has been written again (after a restart, or when Redis lost them). */
  rowsLost: boolean;
  /** Filled and written, but held back by what is expected of its features. */
  held: boolean;
  /** History is in its states, in part at least: to be filled again it has to start over. */
  isMerged: boolean;
  /** How many states had been marked as unsaved when it got ready: what history gave it is in the store once those are. */
  readyMarks: number;
  progress: number;
  error: string;
};

export type EngineLimits = { readonly shards: number; readonly entitiesInMemoryMax: number };

/**
 * The state of this process: the position in the stream, each source's frontier, and every view's working set. Everything
 * in it is synchronous, so that between two awaits the position and the states always agree.
 */
export class Engine {
  readonly views = new Map<string, ActiveView>();
  readonly frontiers: Frontiers;
  readonly #store: StateStore;
  readonly #limits: EngineLimits;
  readonly #viewsBySource = new Map<string, readonly ActiveView[]>();
  #position: number;
  #reached: number;
  #revision = 0;
  #readyMarks = 0;
  readonly #unsaved = new Unsaved<ViewCells>();

  /** Continues from the last checkpoint: views that were warming are left out and given back, to be wiped and started again. */
  constructor(store: StateStore, limits: EngineLimits) {
    this.#store = store;
    this.#limits = limits;
    const saved = store.readMeta();
    this.#position = saved?.position ?? 0;
    this.#reached = saved?.reached ?? this.#position;
    this.frontiers = new Frontiers(saved?.frontiers);
    for (const [id, record] of Object.entries(saved?.views ?? {})) {
      const view = this.#open(id, { ...record }, new Retractions(saved?.retractions?.[id]));
      view.rowsEnabled = record.phase === 'ready';
      markPending(view, saved?.pendingRows[id]);
    }
  }

  get position(): number {
    return this.#position;
  }

  /** No state reflects an event beyond it, though after a restart some reflect events beyond the position. */
  get reached(): number {
    return Math.max(this.#reached, this.#position);
  }

  get isReplaying(): boolean {
    return this.#position < this.#reached;
  }

  /** States that changed since they were last encoded for the store. */
  get unsavedCount(): number {
    return this.#unsaved.count;
  }

  /** How many times a state fell behind in the store. */
  get marks(): number {
    return this.#unsaved.marks;
  }

  /** How many of the marks are encoded, those first that were first. */
  get encoded(): number {
    return this.#unsaved.taken;
  }

  /** The marks up to here are to be saved soon: until then a view that is ready would start over. */
  get urgentMarks(): number {
    return this.#readyMarks;
  }

  /** Grows with everything that a checkpoint would save. */
  get revision(): number {
    return this.#revision;
  }

  touch(): void {
    this.#revision++;
  }

  /** Says that everything up to the position is accounted for otherwise (history), when the stream no longer has it. */
  skipTo(position: number): void {
    this.#position = position;
    this.#revision++;
  }

  addView(definition: ViewDefinition): ActiveView {
    const id = viewId(definition.name, definition.version);
    if (this.views.has(id)) throw new MeshError('INTERNAL', `view "${id}" is active already`, { view: id });
    return this.#open(id, {
      definition,
      phase: 'warming',
      startPosition: this.#position,
      entities: 0,
      lateDropped: 0,
    });
  }

  setPhase(view: ActiveView, phase: ViewPhase): void {
    view.record.phase = phase;
    view.rowsEnabled = phase === 'ready' || (phase === 'warming' && view.rowsEnabled);
    if (phase === 'dropping') this.#stopApplying(view);
    if (phase === 'ready') {
      view.readyMarks = this.#unsaved.marks;
      this.#readyMarks = view.readyMarks;
    }
    this.#revision++;
  }

  forget(view: ActiveView): void {
    this.views.delete(view.id);
    this.#stopApplying(view);
    this.#revision++;
  }

  /** Applies one message of the stream to every view on its source. Returns how many (event, view) pairs were applied. */
  apply(seq: number, batch: DecodedBatch): number {
    if (seq <= this.#position) return 0;
    let applied = 0;
    for (const view of this.#viewsBySource.get(batch.source) ?? []) {
      const outcome = view.cells.applyBatch(batch, seq, batch.knownTimeUs, seq <= this.#reached);
      if (batch.changes && view.record.definition.changes === 'upsert') addRetractions(view, batch, batch.changes, seq);
      applied += outcome.applied;
      view.record.entities += outcome.created;
      view.record.lateDropped += outcome.dropped;
    }
    let newestUs = 0;
    for (const eventTimeUs of batch.eventTimeUs) if (eventTimeUs > newestUs) newestUs = eventTimeUs;
    if (newestUs > 0) this.frontiers.advance(batch.source, newestUs);
    this.#position = seq;
    this.#revision++;
    return applied;
  }

  /** A message that cannot be read is passed over; its position still counts. */
  skip(seq: number): void {
    if (seq <= this.#position) return;
    this.#position = seq;
    this.#revision++;
  }

  rowDirtyCount(): number {
    let count = 0;
    for (const view of this.views.values()) if (view.rowsEnabled) count += view.cells.rowDirtyCount;
    return count;
  }

  /** Those of views that are being filled wait for that, and hold up nothing. */
  retractionCount(): number {
    let count = 0;
    for (const view of this.views.values()) if (view.rowsEnabled) count += view.retractions.size;
    return count;
  }

  /** Every state reflects the events up to here; of a view that is being filled nothing is said. */
  reflectedPosition(): number {
    let position = this.#position;
    for (const view of this.views.values()) {
      if (view.rowsEnabled) position = Math.min(position, (view.retractions.oldest() ?? Number.POSITIVE_INFINITY) - 1);
    }
    return position;
  }

  /** Takes the state that has been behind in the store for longest, to be encoded as it is now and committed before anything is said of later positions. */
  takeUnsaved(): (UnsavedCell<ViewCells> & { readonly viewId: string }) | undefined {
    for (let next = this.#unsaved.take(); next !== undefined; next = this.#unsaved.take()) {
      const viewId = next.cells.id;
      // one that was forgotten may have left its place to another
      if (this.views.get(viewId)?.cells !== next.cells) continue;
      next.cell.savedGone = next.cell.isGone;
      next.cell.droppedUnsaved = 0;
      return { ...next, viewId };
    }
    return undefined;
  }

  /**
   * What is true once every state taken so far is in the store: none of them is before `position`, and what is told of the views is told of the saved states.
   * Rows that are behind, or on their way to Redis (`inFlight`, by view id), are named, so that a restart from here writes them again.
   */
  checkpointMeta(inFlight: ReadonlyMap<string, readonly string[]>): CheckpointMeta {
    const pendingRows: Record<string, readonly string[] | 'all'> = {};
    const retractions: Record<string, SavedRetractions> = {};
    const saved = new Map([...this.views.values()].map((view) => [view.cells, { view, record: { ...view.record } }]));
    this.#unsaved.each(({ cells, cell }) => {
      const record = saved.get(cells)?.record;
      if (record === undefined) return;
      record.entities += Number(cell.isGone) - Number(cell.savedGone);
      record.lateDropped -= cell.droppedUnsaved;
    });
    for (const { view, record } of saved.values()) {
      if (record.phase === 'ready' && this.#unsaved.taken < view.readyMarks) record.phase = 'warming';
      // a view that is being filled starts over after a crash
      const pendingRetractions = record.phase === 'ready' ? view.retractions.save(this.#unsaved.taken) : [];
      if (pendingRetractions.length > 0) retractions[view.id] = pendingRetractions;
      const pending = [...(inFlight.get(view.id) ?? [])];
      for (const shard of view.cells.shards) for (const cell of shard.rowDirtyCells()) pending.push(cell.key);
      if (view.rowsLost || pending.length > pendingRowsListedMax) pendingRows[view.id] = 'all';
      else if (pending.length > 0) pendingRows[view.id] = pending;
    }
    return {
      format: 2,
      position: Math.min(this.#position, (this.#unsaved.oldestPosition() ?? Number.POSITIVE_INFINITY) - 1),
      reached: this.reached,
      frontiers: this.frontiers.toRecord(),
      views: Object.fromEntries([...saved.values()].map(({ view, record }) => [view.id, record])),
      pendingRows,
      ...(Object.keys(retractions).length === 0 ? {} : { retractions }),
    };
  }

  /** Called after a commit: what is clean now is in the store and may leave memory. */
  evict(): number {
    const inMemory = [...this.views.values()].reduce((sum, view) => sum + view.cells.count, 0);
    if (inMemory <= this.#limits.entitiesInMemoryMax) return 0;
    const share = this.#limits.entitiesInMemoryMax / inMemory;
    let evicted = 0;
    for (const view of this.views.values()) evicted += view.cells.evictTo(Math.floor(view.cells.count * share));
    return evicted;
  }

  #open(id: string, record: ViewRecord, retractions = new Retractions()): ActiveView {
    const cells = new ViewCells(record.definition, {
      id,
      shards: this.#limits.shards,
      unsaved: this.#unsaved,
      load: (entityKey) => this.#store.readState(id, entityKey),
    });
    const view: ActiveView = {
      id,
      record,
      cells,
      retractions,
      rowsEnabled: false,
      rowsLost: false,
      held: false,
      isMerged: false,
      readyMarks: 0,
      progress: 0,
      error: '',
    };
    this.views.set(id, view);
    const { source } = record.definition;
    if (record.phase !== 'dropping') {
      this.#viewsBySource.set(source, [...(this.#viewsBySource.get(source) ?? []), view]);
    }
    this.#revision++;
    return view;
  }

  #stopApplying(view: ActiveView): void {
    const { source } = view.record.definition;
    const others = (this.#viewsBySource.get(source) ?? []).filter((other) => other !== view);
    if (others.length === 0) this.#viewsBySource.delete(source);
    else this.#viewsBySource.set(source, others);
  }
}

function addRetractions(view: ActiveView, batch: DecodedBatch, { operations: each }: Changes, seq: number): void {
  for (let row = 0; row < batch.count; row++) {
    if (each[row] === operations.insert) continue;
    view.retractions.add(batch.ids[row] ?? '', { seq, knownTimeUs: batch.knownTimeUs });
  }
}

function markPending(view: ActiveView, pending: readonly string[] | 'all' | undefined): void {
  if (pending === 'all') view.rowsLost = true;
  else
    for (const entityKey of pending ?? []) {
      const { cell, shard } = view.cells.cell(entityKey);
      shard.markRow(cell);
    }
}
