import { Lane, type LanePolicy, type Ticket, urgencyOf } from './lane.ts';

export type Offered<T> =
  /** `displaced` gave its place to a more urgent one. */
  { readonly t: 'queued'; readonly displaced: Ticket<T> | undefined } | Refused;

export type Refused =
  | { readonly t: 'full'; readonly waitMs: number }
  /** It would be answered after its deadline. */
  | { readonly t: 'too-late'; readonly waitMs: number };

export interface Batch<T> {
  readonly lane: Lane<T>;
  readonly tickets: readonly Ticket<T>[];
  readonly rows: number;
}

export interface Taken<T> {
  readonly batch: Batch<T> | undefined;
  /** Given up because others can still be answered in time. */
  readonly missed: readonly (readonly [Lane<T>, Ticket<T>])[];
}

/**
 * Which batch runs next on which slot, over all lanes: decisions alone, without timers or promises; every call says what time it is, in
 * milliseconds. A slot runs one batch at a time.
 */
export class Scheduler<T> {
  readonly #lanes = new Set<Lane<T>>();
  readonly #busyUntilMs: number[];
  readonly #isBusy: boolean[];

  constructor(slots: number) {
    this.#busyUntilMs = new Array<number>(slots).fill(0);
    this.#isBusy = new Array<boolean>(slots).fill(false);
  }

  open(options: ConstructorParameters<typeof Lane<T>>[0]): Lane<T> {
    const lane = new Lane<T>(options);
    this.#lanes.add(lane);
    return lane;
  }

  close(lane: Lane<T>): void {
    this.#lanes.delete(lane);
  }

  offer(lane: Lane<T>, ticket: Ticket<T>, nowMs: number): Offered<T> {
    const waitMs = this.#waitMs(lane, urgencyOf(ticket), nowMs);
    const refused = this.#refused(lane, ticket, waitMs, nowMs);
    if (refused) return refused;
    const displaced = lane.size >= lane.policy.queueMax ? lane.last : undefined;
    if (displaced) lane.remove(displaced);
    lane.add(ticket);
    return { t: 'queued', displaced };
  }

  /** What `offer` would say no to now. */
  refused(lane: Lane<T>, ticket: Omit<Ticket<T>, 'item' | 'group'>, nowMs: number): Refused | undefined {
    return this.#refused(lane, ticket, this.#waitMs(lane, urgencyOf(ticket), nowMs), nowMs);
  }

  isFree(slot: number): boolean {
    return this.#isBusy[slot] === false;
  }

  /** Keeps batches off a free slot until `release`. */
  hold(slot: number): void {
    this.#isBusy[slot] = true;
    this.#busyUntilMs[slot] = Number.POSITIVE_INFINITY;
  }

  release(slot: number): void {
    this.#isBusy[slot] = false;
    this.#busyUntilMs[slot] = 0;
  }

  /** The most urgent batch that a free slot can run; the slot is busy with it until `release`. */
  take(slot: number, nowMs: number): Taken<T> {
    const missed: (readonly [Lane<T>, Ticket<T>])[] = [];
    for (;;) {
      const lane = this.#next(slot, nowMs);
      if (!lane) return { batch: undefined, missed };
      const taken = lane.takeBatch(nowMs);
      for (const ticket of taken.missed) missed.push([lane, ticket]);
      if (taken.batch.length === 0) continue;
      const rows = taken.batch.reduce((sum, ticket) => sum + ticket.rows, 0);
      this.#isBusy[slot] = true;
      this.#busyUntilMs[slot] = nowMs + lane.cost.ofMs(rows);
      return { batch: { lane, tickets: taken.batch, rows }, missed };
    }
  }

  /** Takes out what has waited past its deadline. */
  expire(nowMs: number): (readonly [Lane<T>, Ticket<T>])[] {
    return [...this.#lanes].flatMap((lane) =>
      lane.size === 0 ? [] : lane.takeExpired(nowMs).map((ticket) => [lane, ticket] as const),
    );
  }

  /** When something is due although nothing arrives or ends: a deadline, or a batch that has waited for company long enough. */
  wakeMs(): number {
    let wakeMs = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes) {
      if (lane.size === 0) continue;
      wakeMs = Math.min(wakeMs, lane.earliestDeadlineMs());
      if ([...lane.slots].some((slot) => this.isFree(slot))) wakeMs = Math.min(wakeMs, lane.ripeMs());
    }
    return wakeMs;
  }

  #next(slot: number, nowMs: number): Lane<T> | undefined {
    let next: Lane<T> | undefined;
    for (const lane of this.#lanes) {
      if (lane.size === 0 || !lane.slots.has(slot) || lane.ripeMs() > nowMs) continue;
      if (!next || lane.headUrgency < next.headUrgency) next = lane;
    }
    return next;
  }

  #refused(
    lane: Lane<T>,
    { rows, level, deadlineMs }: Omit<Ticket<T>, 'item' | 'group'>,
    waitMs: number,
    nowMs: number,
  ): Refused | undefined {
    const leftMs = deadlineMs - nowMs;
    // a slot that is free tries: only a run can correct an estimate that is too high
    if (waitMs > 0 && waitMs + lane.cost.ofMs(rows) > lane.patienceMs(leftMs, level)) return { t: 'too-late', waitMs };
    if (lane.size < lane.policy.queueMax) return undefined;
    return !lane.last || lane.last.level <= level ? { t: 'full', waitMs } : undefined;
  }

  /** What is ahead of such an urgency, over the slots that can run the lane. */
  #waitMs(lane: Lane<T>, urgency: number, nowMs: number): number {
    let [backlogMs, freeSlots] = [0, 0];
    for (const slot of lane.slots) {
      if (this.isFree(slot)) freeSlots++;
      else if (Number.isFinite(this.#busyUntilMs[slot])) {
        backlogMs += Math.max(0, (this.#busyUntilMs[slot] ?? 0) - nowMs);
      }
    }
    for (const other of this.#lanes) if (other.size > 0) backlogMs += other.backlogMs(urgency);
    return freeSlots > 0 && backlogMs === 0 ? 0 : backlogMs / lane.slots.size;
  }
}

export type { LanePolicy };
