import type { StoredRow } from '../domain/evaluate.ts';
import type { PlannedEntity } from '../domain/plan.ts';
import type { EntityRead, RowStore, TakeRows } from './row-store.ts';

export type NearRowsOptions = {
  /** How old a row may be that is answered without asking the store; 0: none is kept. */
  readonly ttlMs: number;
  /** Entity instances kept, for all sets of views together. */
  readonly entriesMax: number;
  readonly bytesMax: number;
  /** How long the store may take for a read that several wait for. */
  readonly readTimeoutMs: number;
  readonly nowMs: () => number;
  readonly onOutcome: (outcome: 'hit' | 'joined' | 'asked', count: number) => void;
};

export type NearRows = RowStore & {
  /** Forgets an entity's rows of one view: they have changed. */
  forget(key: string, view: string, version: string): void;
  /** Kept entity instances and bytes. */
  size(): { readonly entries: number; readonly bytes: number };
};

type Kept = { readonly rows: readonly StoredRow[]; readonly untilMs: number; readonly bytes: number };
type Waiter = { readonly read: Waiting; readonly index: number };
/** One HMGET that has not been answered, and who waits for it. */
type Flight = { readonly waiters: Waiter[]; changed: boolean };
/** What is kept and asked for one list of views of an entity. */
type Shelf = {
  readonly fields: ReadonlySet<string>;
  readonly kept: Map<string, Kept>;
  readonly flights: Map<string, Flight>;
};

/** A read, until every entity of it is answered or its time is over. */
type Waiting = {
  readonly take: TakeRows;
  /** Entities that the store has not said anything of. */
  pending: number;
  readonly unanswered: Set<number>;
  done: boolean;
  timer: NodeJS.Timeout | undefined;
  resolve(unanswered: readonly number[]): void;
  reject(error: unknown): void;
};

const entryOverheadBytes = 200;

/**
 * Rows that were read not long ago, before a store. Rows are timelines: a kept row is exact at any read time until an event comes that it does
 * not know, so `ttlMs` bounds how long an event may stay unseen, counted from when the row was asked for, whether or not anybody tells
 * of changes. Reads of an entity that is being asked for join that question when rows may be kept at all, and otherwise only within one turn
 * of the event loop, before the question has left: then nobody gets a row older than its read.
 */
export function createNearRows(store: RowStore, options: NearRowsOptions): NearRows {
  const { ttlMs, entriesMax, bytesMax, nowMs, onOutcome } = options;
  const shelves = new Map<string, Shelf>();
  const shelfOf = new WeakMap<PlannedEntity, Shelf>();
  let entries = 0;
  let bytes = 0;
  let turnEnds = false;

  function shelfFor(entity: PlannedEntity): Shelf {
    let shelf = shelfOf.get(entity);
    if (shelf) return shelf;
    const fields = entity.versions.map(({ view, version }) => fieldOf(view, version));
    const name = fields.join(' ');
    shelf = shelves.get(name) ?? { fields: new Set(fields), kept: new Map(), flights: new Map() };
    shelves.set(name, shelf);
    shelfOf.set(entity, shelf);
    return shelf;
  }

  function drop(shelf: Shelf, key: string): void {
    const kept = shelf.kept.get(key);
    if (!kept) return;
    shelf.kept.delete(key);
    entries--;
    bytes -= kept.bytes;
  }

  function keep(shelf: Shelf, key: string, rows: readonly StoredRow[], untilMs: number): void {
    drop(shelf, key);
    const copies = copiesOf(rows);
    const size = copies.reduce((sum, row) => sum + (row?.byteLength ?? 0), entryOverheadBytes + key.length);
    if (size > bytesMax) return;
    shelf.kept.set(key, { rows: copies, untilMs, bytes: size });
    entries++;
    bytes += size;
    if (entries > entriesMax || bytes > bytesMax) evict();
  }

  /** The oldest of each shelf in turn; a kept row lives no longer than its time, so age is as good as use. */
  function evict(): void {
    while (entries > entriesMax || bytes > bytesMax) {
      for (const shelf of shelves.values()) {
        const [oldest] = shelf.kept.keys();
        if (oldest !== undefined) drop(shelf, oldest);
      }
    }
  }

  /** Without a time to live a question is joined until it leaves, at the end of this turn. */
  function closeFlightsAtEndOfTurn(): void {
    if (ttlMs > 0 || turnEnds) return;
    turnEnds = true;
    setImmediate(() => {
      turnEnds = false;
      for (const shelf of shelves.values()) shelf.flights.clear();
    });
  }

  function ask(asked: readonly { readonly read: EntityRead; readonly shelf: Shelf; readonly flight: Flight }[]): void {
    const untilMs = nowMs() + ttlMs;
    const land = (index: number, rows: readonly StoredRow[] | undefined) => {
      const { read, shelf, flight } = asked[index] as (typeof asked)[number];
      if (shelf.flights.get(read.key) === flight) shelf.flights.delete(read.key);
      if (rows && ttlMs > 0 && !flight.changed) keep(shelf, read.key, rows, untilMs);
      for (const waiter of flight.waiters) answer(waiter, rows);
    };
    const all = asked.map(({ read }) => read);
    void store.read(all, options.readTimeoutMs, land).then(
      (unanswered) => {
        for (const index of unanswered) land(index, undefined);
      },
      (error: unknown) => {
        for (const { flight } of asked) for (const { read } of flight.waiters) settle(read, error);
      },
    );
    closeFlightsAtEndOfTurn();
  }

  return {
    read(reads, timeoutMs, take) {
      return new Promise((resolve, reject) => {
        const waiting: Waiting = {
          take,
          pending: 0,
          unanswered: new Set(),
          done: false,
          timer: undefined,
          resolve,
          reject,
        };
        const now = nowMs();
        const asked: { read: EntityRead; shelf: Shelf; flight: Flight }[] = [];
        const hits: { index: number; rows: readonly StoredRow[] }[] = [];
        let joined = 0;
        for (let index = 0; index < reads.length; index++) {
          const read = reads[index] as EntityRead;
          const shelf = shelfFor(read.entity);
          const kept = ttlMs > 0 ? shelf.kept.get(read.key) : undefined;
          if (kept && now < kept.untilMs) {
            hits.push({ index, rows: kept.rows });
            continue;
          }
          waiting.unanswered.add(index);
          waiting.pending++;
          let flight = shelf.flights.get(read.key);
          if (flight && !flight.changed) joined++;
          else {
            flight = { waiters: [], changed: false };
            shelf.flights.set(read.key, flight);
            asked.push({ read, shelf, flight });
          }
          flight.waiters.push({ read: waiting, index });
        }
        onOutcome('hit', hits.length);
        onOutcome('joined', joined);
        onOutcome('asked', asked.length);
        if (waiting.pending > 0) waiting.timer = setTimeout(() => settle(waiting), timeoutMs);
        waiting.pending += hits.length;
        if (asked.length > 0) ask(asked);
        for (const { index, rows } of hits) answer({ read: waiting, index }, rows);
        if (reads.length === 0) settle(waiting);
      });
    },
    forget(key, view, version) {
      const field = fieldOf(view, version);
      for (const shelf of shelves.values()) {
        if (!shelf.fields.has(field)) continue;
        drop(shelf, key);
        // its answer may have left the store before the change
        const flight = shelf.flights.get(key);
        if (flight) flight.changed = true;
      }
    },
    size: () => ({ entries, bytes }),
  };
}

/** Hands rows to one that waits for them; what goes wrong in taking them is its own. */
function answer({ read, index }: Waiter, rows: readonly StoredRow[] | undefined): void {
  if (read.done) return;
  if (rows) {
    try {
      read.take(index, rows);
    } catch (error) {
      settle(read, error);
      return;
    }
    read.unanswered.delete(index);
  }
  if (--read.pending === 0) settle(read);
}

function settle(read: Waiting, error?: unknown): void {
  if (read.done) return;
  read.done = true;
  clearTimeout(read.timer);
  if (error === undefined) read.resolve([...read.unanswered]);
  else read.reject(error);
}

function fieldOf(view: string, version: string): string {
  return `${view}@${version}`;
}

/** Into memory of their own, all of an entity together. */
function copiesOf(rows: readonly StoredRow[]): readonly StoredRow[] {
  const memory = new ArrayBuffer(rows.reduce((sum, row) => sum + (row?.byteLength ?? 0), 0));
  let at = 0;
  return rows.map((row) => {
    if (!row) return null;
    const { buffer, byteOffset, byteLength } = row;
    new Uint8Array(memory, at, byteLength).set(new Uint8Array(buffer, byteOffset, byteLength));
    at += byteLength;
    return new DataView(memory, at - byteLength, byteLength);
  });
}
