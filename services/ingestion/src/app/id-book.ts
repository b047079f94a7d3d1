import { sleep } from '@millrace/kernel';
import type { PackedBatch } from '../domain/pack.ts';
import { type IdIndex, type IndexedMessage, idKey, type SourceTally } from './id-index.ts';

/** A batch whose events are on their way; `done` settles when all of them are durable, or rejects. */
export type Ticket = {
  readonly done: Promise<void>;
  /** What its answer waits for: batches with the events that it repeats. */
  readonly waitFor: Set<Promise<void>>;
  /** What must be durable before its own events leave: batches with the events that it corrects. */
  readonly before: Set<Promise<void>>;
};

export function newTicket(done: Promise<void>): Ticket {
  return { done, waitFor: new Set(), before: new Set() };
}

/** What an event says, and the publisher's number of the change, 0 where there is none. */
export type Change = { readonly lo: number; readonly hi: number; readonly sequence: bigint };

/** A message on its way to the EVENTS stream: its position will lie beyond `floor`. */
export type Flight = { readonly floor: number };

/** What became of a change, and the number that the id has from now on. */
export type Changed = {
  readonly outcome: 'new' | 'replaces' | 'duplicate';
  readonly sequence: bigint;
  readonly undo: () => void;
};

/** An id's last change. `flying`: changes that are not acknowledged; `open`: those that are not recorded. */
type Entry = { change: Change; ticket: Ticket; flying: number; open: number };

const commitIntervalMs = 20;
const commitMessagesMax = 200;

/**
 * Which event ids are taken: those of the durable index, and in memory those in flight or acknowledged but not yet recorded.
 * Messages are recorded strictly in stream order, up to the last position below which nothing can still be in flight.
 */
export class IdBook {
  readonly #index: IdIndex;
  readonly #entries = new Map<string, Entry>();
  readonly #flights = new Set<Flight>();
  readonly #tallies = new Map<string, SourceTally>();
  readonly #recordedTallies: Record<string, SourceTally>;
  #acked: IndexedMessage[] = [];
  #ackedMax: number;
  #recorded: number;

  constructor(index: IdIndex) {
    this.#index = index;
    const { position, tallies } = index.mark();
    this.#ackedMax = position;
    this.#recorded = position;
    this.#recordedTallies = structuredClone(tallies) as Record<string, SourceTally>;
    for (const [source, tally] of Object.entries(tallies)) this.#tallies.set(source, { ...tally });
  }

  get waiting(): number {
    return this.#entries.size;
  }

  /** Everything acknowledged to us lies at or before this position. */
  get position(): number {
    return this.#ackedMax;
  }

  get recordedPosition(): number {
    return this.#recorded;
  }

  tally(source: string): SourceTally {
    return this.#tallies.get(source) ?? { accepted: 0, frontierUs: Number.NEGATIVE_INFINITY, lastPosition: 0 };
  }

  /**
   * Takes an id for a ticket. A `duplicate` has the same payload and a `conflict` another one; when the first is itself still in
   * flight, the ticket learns to wait for it.
   */
  claim(source: string, id: string, lo: number, hi: number, ticket: Ticket): 'new' | 'duplicate' | 'conflict' {
    const key = idKey(source, id);
    const entry = this.#entries.get(key);
    if (entry !== undefined && entry.flying > 0 && entry.ticket !== ticket) ticket.waitFor.add(entry.ticket.done);
    const known = entry?.change ?? this.#index.find(key);
    if (known !== undefined) return known.lo === lo && known.hi === hi ? 'duplicate' : 'conflict';
    this.#entries.set(key, { change: { lo, hi, sequence: 0n }, ticket, flying: 1, open: 1 });
    return 'new';
  }

  /**
   * Takes an id for a change of its event, of a source whose events may be corrected. `replaces` says that there was one, or may have been;
   * a `duplicate` is what is known already, or older than that by its number. What is corrected while it is in flight the ticket learns to
   * leave after. `undo` frees the id for the one before; the last change is undone first.
   */
  change(source: string, id: string, change: Change, ticket: Ticket): Changed {
    const key = idKey(source, id);
    const entry = this.#entries.get(key);
    const known = entry?.change ?? this.#index.find(key);
    const isFlying = entry !== undefined && entry.flying > 0 && entry.ticket !== ticket;
    if (known !== undefined && isKnown(known, change)) {
      if (isFlying) ticket.waitFor.add(entry.ticket.done);
      return { outcome: 'duplicate', sequence: known.sequence, undo: () => {} };
    }
    if (isFlying) ticket.before.add(entry.ticket.done);
    const sequence = change.sequence || (known?.sequence ?? 0n);
    const numbered = { ...change, sequence };
    const outcome = known !== undefined || this.#index.hasForgotten() ? 'replaces' : 'new';
    if (entry === undefined) {
      this.#entries.set(key, { change: numbered, ticket, flying: 1, open: 1 });
      return { outcome, sequence, undo: () => this.#entries.delete(key) };
    }
    const before = { change: entry.change, ticket: entry.ticket };
    Object.assign(entry, { change: numbered, ticket, flying: entry.flying + 1, open: entry.open + 1 });
    const undo = () => Object.assign(entry, { ...before, flying: entry.flying - 1, open: entry.open - 1 });
    return { outcome, sequence, undo };
  }

  /** What `claim` would say, and of `change` a `conflict` for `replaces`; nothing is taken. */
  status(source: string, id: string, { lo, hi, sequence }: Change): 'new' | 'duplicate' | 'conflict' {
    const key = idKey(source, id);
    const known = this.#entries.get(key)?.change ?? this.#index.find(key);
    if (known === undefined) return 'new';
    return isKnown(known, { lo, hi, sequence }) ? 'duplicate' : 'conflict';
  }

  /** Frees an id that the ticket has taken and whose event is not on its way. */
  release(source: string, id: string, ticket: Ticket): void {
    const key = idKey(source, id);
    if (this.#entries.get(key)?.ticket === ticket) this.#entries.delete(key);
  }

  depart(): Flight {
    const flight = { floor: this.#ackedMax };
    this.#flights.add(flight);
    return flight;
  }

  /** JetStream has acknowledged the message. */
  arrive(flight: Flight, message: IndexedMessage): void {
    this.#flights.delete(flight);
    this.#ackedMax = Math.max(this.#ackedMax, message.position);
    this.#acked.push(message);
    const { batch } = message;
    for (const id of batch.ids) {
      const entry = this.#entries.get(idKey(batch.source, id));
      if (entry !== undefined) entry.flying--;
    }
    const tally = this.#tallies.get(batch.source) ?? emptyTally();
    count(tally, message);
    this.#tallies.set(batch.source, tally);
  }

  /** Records what is known to be a gap-free prefix of the stream. Returns how many messages that was. */
  async commit(): Promise<number> {
    const safe = this.#safePosition();
    const ready = this.#acked.filter(({ position }) => position <= safe).sort((a, b) => a.position - b.position);
    const messages = ready.slice(0, commitMessagesMax);
    if (messages.length === 0) return 0;
    const taken = new Set(messages);
    for (const message of messages) count(tallyOf(this.#recordedTallies, message), message);
    const position = messages.length < ready.length ? (messages.at(-1)?.position ?? safe) : safe;
    await this.#index.record(messages, { position, tallies: this.#recordedTallies });
    this.#recorded = position;
    this.#acked = this.#acked.filter((message) => !taken.has(message));
    for (const { batch } of messages) for (const id of batch.ids) this.#close(idKey(batch.source, id));
    return messages.length;
  }

  #close(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.open--;
    if (entry.open === 0) this.#entries.delete(key);
  }

  /** Commits until the signal aborts, and once more. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if ((await this.commit()) < commitMessagesMax) await sleep(commitIntervalMs, signal);
    }
    while ((await this.commit()) > 0);
  }

  #safePosition(): number {
    let safe = this.#ackedMax;
    for (const { floor } of this.#flights) safe = Math.min(safe, floor);
    return safe;
  }
}

/** Reads the stream from the index's mark to its end, so that nothing durable is forgotten. Returns the messages read. */
export async function catchUp(
  index: IdIndex,
  log: {
    bounds(): Promise<{ first: number; last: number }>;
    read(from: number, to: number): AsyncIterable<{ readonly position: number; readonly batch: PackedBatch }>;
  },
): Promise<{ messages: number; wiped: boolean }> {
  const { first, last } = await log.bounds();
  const wiped = last < index.mark().position;
  if (wiped) await index.wipe();
  if (first > index.mark().position + 1) index.markForgotten();
  const { position: from, tallies: recorded } = index.mark();
  const tallies = structuredClone(recorded) as Record<string, SourceTally>;
  let messages = 0;
  let pending: IndexedMessage[] = [];
  if (last > from && last >= first) {
    for await (const message of log.read(Math.max(from + 1, first), last)) {
      pending.push(message);
      count(tallyOf(tallies, message), message);
      if (pending.length < commitMessagesMax) continue;
      await index.record(pending, { position: message.position, tallies });
      messages += pending.length;
      pending = [];
    }
    await index.record(pending, { position: last, tallies });
    messages += pending.length;
  }
  return { messages, wiped };
}

/** Numbered changes are told by their numbers, others by what they say. */
function isKnown(known: Change, { lo, hi, sequence }: Change): boolean {
  if (sequence > 0n && known.sequence > 0n) return sequence <= known.sequence;
  return known.lo === lo && known.hi === hi;
}

function tallyOf(tallies: Record<string, SourceTally>, { batch }: IndexedMessage): SourceTally {
  tallies[batch.source] ??= emptyTally();
  return tallies[batch.source] as SourceTally;
}

function emptyTally(): SourceTally {
  return { accepted: 0, frontierUs: Number.MIN_SAFE_INTEGER, lastPosition: 0 };
}

function count(tally: SourceTally, { position, batch }: IndexedMessage): void {
  tally.accepted += batch.count;
  tally.lastPosition = Math.max(tally.lastPosition, position);
  for (let row = 0; row < batch.count; row++) {
    tally.frontierUs = Math.max(tally.frontierUs, batch.eventTimeUs[row] as number);
  }
}
