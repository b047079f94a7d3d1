import { createSharedErrors, MeshError, toMeshError } from '@millrace/kernel';
import { createCostModel } from './cost-model.ts';
import type { Lane, LanePolicy, Level, Ticket } from './lane.ts';
import { type Batch, type Refused, Scheduler } from './scheduler.ts';

export interface SubmitOptions {
  /** How many rows it adds to a batch. */
  readonly rows: number;
  /** Only equal groups share a batch; left out: all do. */
  readonly group?: string;
  readonly level?: Level;
  /** Epoch milliseconds. */
  readonly deadlineMs?: number | undefined;
  /** Its abort takes the item out of the queue. */
  readonly signal?: AbortSignal | undefined;
}

export interface LaneOptions<In, Out> {
  /** What errors call it, as `model "late"`. */
  readonly name: string;
  /** The slots that can run it. */
  readonly slots: readonly number[];
  readonly policy: LanePolicy;
  /** What a batch is expected to cost before any ran. */
  readonly cost?: { readonly fixedMs: number; readonly rowMs: number };
  /** An output for each item, in their order. `free` gives the slot to others while a long run goes on elsewhere. */
  readonly run: (slot: number, items: readonly In[], free: () => void) => Promise<readonly Out[]>;
  /** Whether a failure may be one item's doing: then halves of the batch are tried, and only those fail that fail alone. */
  readonly isItems?: (error: unknown) => boolean;
  readonly onBatch?: (batch: BatchReport) => void;
}

export interface BatchReport {
  readonly rows: number;
  readonly tookMs: number;
  /** How long each item waited. */
  readonly waitsMs: readonly number[];
}

export interface LaneHandle<In, Out> {
  /** OVERLOADED when too many wait or it could not be answered in time, DEADLINE_EXCEEDED, CANCELLED, or what the run throws. */
  submit(item: In, options: SubmitOptions): Promise<Out>;
  /** Why an item would be refused now: for those who ask before they make one. */
  refusal(options: Pick<SubmitOptions, 'rows' | 'level' | 'deadlineMs'>): MeshError | undefined;
  waiting(): number;
  cost(): { readonly fixedMs: number; readonly rowMs: number };
  /** Refuses what is new and waits for what is there, at most so long. */
  close(drainMs: number): Promise<void>;
}

export interface Dispatcher {
  open<In, Out>(options: LaneOptions<In, Out>): LaneHandle<In, Out>;
  /** Waits for the slot and keeps batches off it while `use` runs. */
  reserve<R>(slot: number, use: () => Promise<R>): Promise<R>;
}

interface Work {
  readonly item: unknown;
  readonly done: (outcome: { readonly value: unknown } | { readonly error: unknown }) => void;
}
type AnyLane = LaneOptions<unknown, unknown> & { closed: boolean; running: number; idle: (() => void) | undefined };

/** Real time around a `Scheduler`: promises, one timer, and runs. Event-driven: it acts when something is offered, ends or is due. */
export function createDispatcher(deps: {
  readonly slots: number;
  /** Epoch milliseconds. */
  readonly nowMs: () => number;
}): Dispatcher {
  const { nowMs } = deps;
  const scheduler = new Scheduler<Work>(deps.slots);
  const options = new Map<Lane<Work>, AnyLane>();
  const reservations = new Map<number, (() => void)[]>();
  const refusals = createSharedErrors();
  const wakeUp = createWakeUp(nowMs, () => pump());
  let isPumping = false;

  /** After the events that have come at once: those that came together share a batch, and nobody waits for a timer. */
  function pumpSoon(): void {
    if (isPumping) return;
    isPumping = true;
    setImmediate(() => {
      isPumping = false;
      pump();
    });
  }

  function pump(): void {
    for (const [lane, ticket] of scheduler.expire(nowMs())) ticket.item.done({ error: expired(lane.name) });
    for (let slot = 0; slot < deps.slots; slot++) {
      if (!scheduler.isFree(slot)) continue;
      const reservation = reservations.get(slot)?.shift();
      if (reservation) {
        scheduler.hold(slot);
        reservation();
        continue;
      }
      const { batch, missed } = scheduler.take(slot, nowMs());
      for (const [lane, ticket] of missed) ticket.item.done({ error: refused(lane, { t: 'too-late', waitMs: 1 }) });
      if (batch) void run(slot, batch);
    }
    settle();
    wakeUp.at(scheduler.wakeMs());
  }

  function settle(): void {
    for (const [lane, one] of options) if (one.closed && lane.size === 0 && one.running === 0) one.idle?.();
  }

  async function run(slot: number, batch: Batch<Work>): Promise<void> {
    const lane = options.get(batch.lane);
    if (!lane) return;
    lane.running++;
    const startMs = nowMs();
    let isFreed = false;
    const free = () => {
      if (isFreed) return;
      isFreed = true;
      scheduler.release(slot);
      pumpSoon();
    };
    const isClean = await runAll(lane, batch.tickets, (items) => lane.run(slot, items, free));
    const endMs = nowMs();
    const tookMs = endMs - startMs;
    lane.running--;
    // the least urgent
    const last = batch.tickets.at(-1);
    if (last) batch.lane.patience.answered(last, endMs);
    if (isClean) batch.lane.cost.observe(batch.rows, tookMs);
    if (!isFreed) scheduler.release(slot);
    const waitsMs = batch.tickets.map(({ queuedMs }) => startMs - queuedMs);
    lane.onBatch?.({ rows: batch.rows, tookMs, waitsMs });
    // at once: what waited while it ran is the next batch
    pump();
  }

  return {
    open(given) {
      const lane = scheduler.open({
        name: given.name,
        slots: given.slots,
        cost: createCostModel(given.cost ?? { fixedMs: 0, rowMs: 0 }),
        policy: given.policy,
      });
      const own: AnyLane = { ...(given as unknown as AnyLane), closed: false, running: 0, idle: undefined };
      options.set(lane, own);
      return {
        submit: (item, how) =>
          new Promise((resolve, reject) => {
            if (own.closed) return reject(closedError(given.name));
            submit(lane, item, how, (outcome) =>
              'error' in outcome ? reject(outcome.error) : resolve(outcome.value as never),
            );
          }),
        refusal({ rows, level = 2, deadlineMs = Number.POSITIVE_INFINITY }) {
          if (own.closed) return undefined;
          const queuedMs = nowMs();
          const said = scheduler.refused(lane, { rows, level, queuedMs, deadlineMs }, queuedMs);
          return said && refused(lane, said);
        },
        waiting: () => lane.size,
        cost: () => lane.cost.current(),
        async close(drainMs) {
          own.closed = true;
          if (lane.size > 0 || own.running > 0) {
            const { promise, resolve } = Promise.withResolvers<void>();
            own.idle = resolve;
            const timer = setTimeout(resolve, drainMs);
            await promise;
            clearTimeout(timer);
          }
          for (const ticket of lane.takeAll()) ticket.item.done({ error: closedError(given.name) });
          scheduler.close(lane);
          options.delete(lane);
        },
      };
    },
    async reserve(slot, use) {
      await new Promise<void>((resolve) => {
        reservations.set(slot, [...(reservations.get(slot) ?? []), resolve]);
        pumpSoon();
      });
      try {
        return await use();
      } finally {
        scheduler.release(slot);
        pumpSoon();
      }
    },
  };

  function submit(lane: Lane<Work>, item: unknown, how: SubmitOptions, answer: Work['done']): void {
    const { signal } = how;
    if (signal?.aborted) {
      answer({ error: cancelled(lane.name) });
      return;
    }
    const onAbort = () => {
      // a run that has begun goes on, and nobody hears of it
      lane.remove(ticket);
      answer({ error: cancelled(lane.name) });
      settle();
    };
    const done: Work['done'] = (outcome) => {
      signal?.removeEventListener('abort', onAbort);
      answer(outcome);
    };
    const ticket: Ticket<Work> = {
      item: { item, done },
      rows: how.rows,
      group: how.group ?? '',
      level: how.level ?? 2,
      queuedMs: nowMs(),
      deadlineMs: how.deadlineMs ?? Number.POSITIVE_INFINITY,
    };
    const offered = scheduler.offer(lane, ticket, ticket.queuedMs);
    if (offered.t === 'queued') {
      signal?.addEventListener('abort', onAbort, { once: true });
      offered.displaced?.item.done({ error: refused(lane, { t: 'full', waitMs: 0 }) });
      pumpSoon();
    } else answer({ error: refused(lane, offered) });
  }

  function refused(lane: Lane<Work>, { t, waitMs }: Refused): MeshError {
    return refusals(`${t} ${lane.name}`, nowMs(), () =>
      t === 'full' ? full(lane, waitMs) : tooLate(lane.name, waitMs),
    );
  }
}

/** Whether all of it ran at once. */
async function runAll(
  lane: AnyLane,
  tickets: readonly Ticket<Work>[],
  run: (items: readonly unknown[]) => Promise<readonly unknown[]>,
): Promise<boolean> {
  try {
    const outputs = await run(tickets.map(({ item }) => item.item));
    if (outputs.length !== tickets.length)
      throw new MeshError('INTERNAL', `${lane.name} gave ${outputs.length} answers for ${tickets.length} requests`);
    for (const [at, { item }] of tickets.entries()) item.done({ value: outputs[at] });
    return true;
  } catch (error) {
    if (tickets.length === 1 || !lane.isItems?.(error)) {
      for (const { item } of tickets) item.done({ error: toMeshError(error) });
      return false;
    }
    const middle = tickets.length >> 1;
    await runAll(lane, tickets.slice(0, middle), run);
    await runAll(lane, tickets.slice(middle), run);
    return false;
  }
}

/** One timer: for the earliest moment that was asked for. */
function createWakeUp(nowMs: () => number, wake: () => void) {
  let timer: NodeJS.Timeout | undefined;
  let dueMs = Number.POSITIVE_INFINITY;
  return {
    at(atMs: number): void {
      if (atMs === dueMs) return;
      clearTimeout(timer);
      dueMs = atMs;
      if (!Number.isFinite(atMs)) return;
      const waitMs = Math.min(Math.max(1, Math.ceil(atMs - nowMs())), 2 ** 31 - 1);
      timer = setTimeout(() => {
        dueMs = Number.POSITIVE_INFINITY;
        wake();
      }, waitMs);
    },
  };
}

function full(lane: Lane<Work>, waitMs: number): MeshError {
  const limit = lane.policy.queueMax;
  return new MeshError(
    'OVERLOADED',
    `${lane.name} has ${limit} requests waiting, its limit; retry later`,
    { limit },
    { retryAfterMs: Math.max(100, Math.ceil(waitMs)) },
  );
}

function tooLate(name: string, waitMs: number): MeshError {
  return new MeshError(
    'OVERLOADED',
    `${name} could not answer before the request's deadline, because of those that wait; retry later or allow more time`,
    {},
    { retryAfterMs: Math.max(1, Math.ceil(waitMs)) },
  );
}

function expired(name: string): MeshError {
  return new MeshError('DEADLINE_EXCEEDED', `the request's deadline passed while it waited for ${name}`);
}

function cancelled(name: string): MeshError {
  return new MeshError('CANCELLED', `the caller of ${name} is gone`);
}

function closedError(name: string): MeshError {
  return new MeshError('MODEL_RUN_FAILED', `${name} was unloaded; ask again`);
}
