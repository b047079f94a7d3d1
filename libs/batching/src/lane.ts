import type { CostModel } from './cost-model.ts';
import { Patience } from './patience.ts';

/** 1 is the most urgent, as in Triton. */
export type Level = 1 | 2 | 3;

/** What waits to be part of a batch. Times are milliseconds of one clock. */
export interface Ticket<T> {
  readonly item: T;
  readonly rows: number;
  /** Only tickets of one group share a batch. */
  readonly group: string;
  readonly level: Level;
  readonly queuedMs: number;
  /** Infinity when the caller has none. */
  readonly deadlineMs: number;
}

export interface LanePolicy {
  /** Rows of a batch; a ticket with more runs alone. 1: nothing is batched. */
  readonly rowsMax: number;
  /** How long a ticket may wait for company although a worker is free. */
  readonly delayMs: number;
  /** Tickets that wait. */
  readonly queueMax: number;
  /** Ascending: a batch of so many rows waits for no more company, and is not made larger while fewer than the next of these wait. */
  readonly preferredRows?: readonly number[];
}

/** After so long a ticket stands as high as a new one of the level above: nothing starves. A deadline orders within its level. */
export const ageingMs = 1_000;

/** Where a ticket stands in its lane; smaller goes first. Earliest deadline first within a level, and levels age. */
export function urgencyOf({
  level,
  queuedMs,
  deadlineMs,
}: Pick<Ticket<unknown>, 'level' | 'queuedMs' | 'deadlineMs'>): number {
  const orderMs = Math.min(Math.max(deadlineMs - queuedMs, 0), ageingMs);
  return queuedMs + orderMs + (level - 1) * ageingMs;
}

interface Queued<T> {
  readonly ticket: Ticket<T>;
  readonly urgency: number;
}

/** The tickets of one model (or of whatever is run at once), in the order in which they go. */
export class Lane<T> {
  readonly name: string;
  /** The workers that can run it. */
  readonly slots: ReadonlySet<number>;
  readonly cost: CostModel;
  readonly policy: LanePolicy;
  readonly patience = new Patience();
  rows = 0;
  #queue: Queued<T>[] = [];
  /** No ticket's deadline is before. */
  #earliestMs = Number.POSITIVE_INFINITY;

  constructor(options: {
    readonly name: string;
    readonly slots: readonly number[];
    readonly cost: CostModel;
    readonly policy: LanePolicy;
  }) {
    this.name = options.name;
    this.slots = new Set(options.slots);
    this.cost = options.cost;
    this.policy = options.policy;
  }

  get size(): number {
    return this.#queue.length;
  }

  get headUrgency(): number {
    return this.#queue[0]?.urgency ?? Number.POSITIVE_INFINITY;
  }

  /** The ticket that would go last. */
  get last(): Ticket<T> | undefined {
    return this.#queue.at(-1)?.ticket;
  }

  add(ticket: Ticket<T>): void {
    const urgency = urgencyOf(ticket);
    this.#queue.splice(this.#placeOf(urgency), 0, { ticket, urgency });
    this.#earliestMs = Math.min(this.#earliestMs, ticket.deadlineMs);
    this.rows += ticket.rows;
  }

  remove(ticket: Ticket<T>): boolean {
    const at = this.#queue.findIndex((queued) => queued.ticket === ticket);
    if (at < 0) return false;
    this.#queue.splice(at, 1);
    this.rows -= ticket.rows;
    return true;
  }

  /** How long a ticket may be expected to take: all its time for the most urgent, and always as long as keeps workers busy. */
  patienceMs(leftMs: number, level: Level): number {
    if (level === 1) return leftMs;
    return Math.min(leftMs, Math.max(this.patience.ofMs(leftMs), 2 * this.cost.ofMs(this.policy.rowsMax)));
  }

  /** What the tickets before such an urgency cost, in batches as large as they may be. */
  backlogMs(urgency: number): number {
    if (this.#queue.length === 0) return 0;
    const rows = (this.rows * this.#placeOf(urgency)) / this.#queue.length;
    const batchRows = Math.min(rows, this.policy.rowsMax);
    return batchRows === 0 ? 0 : (rows / batchRows) * this.cost.ofMs(batchRows);
  }

  /** When a batch may start: 0 for now; later only while tickets wait for company. */
  ripeMs(): number {
    const { delayMs, rowsMax } = this.policy;
    if (this.#queue.length === 0) return Number.POSITIVE_INFINITY;
    if (delayMs === 0 || this.rows >= Math.min(rowsMax, this.policy.preferredRows?.[0] ?? rowsMax)) return 0;
    const costMs = this.cost.ofMs(Math.min(this.rows, rowsMax));
    // a millisecond to spare: the wait must not be what misses the deadline
    return Math.min(
      ...this.#queue.map(({ ticket }) => Math.min(ticket.queuedMs + delayMs, ticket.deadlineMs - costMs - 1)),
    );
  }

  /** The earliest deadline, or one before it that has gone with its ticket: exact only after `takeExpired` at such a time. */
  earliestDeadlineMs(): number {
    return this.#earliestMs;
  }

  /** Takes out the tickets whose deadline has passed. */
  takeExpired(nowMs: number): Ticket<T>[] {
    if (nowMs < this.#earliestMs) return [];
    const expired = this.#takeWhere(({ deadlineMs }) => deadlineMs <= nowMs);
    this.#earliestMs = this.#queue.reduce(
      (least, { ticket }) => Math.min(least, ticket.deadlineMs),
      Number.POSITIVE_INFINITY,
    );
    return expired;
  }

  takeAll(): Ticket<T>[] {
    return this.#takeWhere(() => true);
  }

  /**
   * Takes out the next batch: the most urgent ticket and those after it that fit. None is let in that would make one before it late.
   * `missed` cannot be answered in time, although others can: no worker spends time on them.
   */
  takeBatch(nowMs: number): { readonly batch: readonly Ticket<T>[]; readonly missed: readonly Ticket<T>[] } {
    const isLate = (ticket: Ticket<T>) => nowMs + this.cost.ofMs(ticket.rows) > ticket.deadlineMs;
    const someCan = this.#queue.some(({ ticket }) => !isLate(ticket));
    const missed = someCan ? this.#takeWhere(isLate) : [];
    const first = this.#queue[0]?.ticket;
    if (!first) return { batch: [], missed };
    const rowsMax = this.policy.preferredRows?.findLast((rows) => rows <= this.rows) ?? this.policy.rowsMax;
    let rows = 0;
    let deadlineMs = Number.POSITIVE_INFINITY;
    const batch = this.#takeWhere((ticket) => {
      const earliestMs = Math.min(deadlineMs, ticket.deadlineMs);
      const fits =
        ticket === first ||
        (ticket.group === first.group &&
          rows + ticket.rows <= rowsMax &&
          nowMs + this.cost.ofMs(rows + ticket.rows) <= earliestMs);
      if (!fits) return false;
      rows += ticket.rows;
      deadlineMs = earliestMs;
      return true;
    });
    return { batch, missed };
  }

  #placeOf(urgency: number): number {
    let [low, high] = [0, this.#queue.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#queue[middle]?.urgency ?? 0) <= urgency) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #takeWhere(isTaken: (ticket: Ticket<T>) => boolean): Ticket<T>[] {
    const taken: Ticket<T>[] = [];
    const kept: Queued<T>[] = [];
    for (const queued of this.#queue) {
      if (isTaken(queued.ticket)) taken.push(queued.ticket);
      else kept.push(queued);
    }
    if (taken.length > 0) {
      this.#queue = kept;
      if (kept.length === 0) this.#earliestMs = Number.POSITIVE_INFINITY;
      for (const { rows } of taken) this.rows -= rows;
    }
    return taken;
  }
}
