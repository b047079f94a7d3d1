import type { events as wire } from '@millrace/contracts';

type QuarantinedEvent = wire.QuarantinedEvent;

export type ReplayGroup = {
  readonly events: readonly QuarantinedEvent[];
  /** The check of batches that set them aside together; undefined for events that were rejected each for itself. */
  readonly setAsideBy: string | undefined;
};

const eventsMax = 500;
/** Of batches whose events are not all there yet; beyond it the one that began first is tried with what it has. */
const heldBytesMax = 64 * 2 ** 20;

/** Events as they are tried again: those of one batch together, however they lie between others. */
export async function* replayGroups(events: AsyncIterable<QuarantinedEvent>): AsyncGenerator<ReplayGroup> {
  let single: QuarantinedEvent[] = [];
  const batches = new Map<string, { readonly events: QuarantinedEvent[]; bytes: number }>();
  let heldBytes = 0;
  const take = (id: string): ReplayGroup => {
    const { events: found = [], bytes = 0 } = batches.get(id) ?? {};
    batches.delete(id);
    heldBytes -= bytes;
    return { events: found, setAsideBy: found[0]?.expectation };
  };
  for await (const event of events) {
    if (event.batchId === undefined) {
      single.push(event);
      if (single.length < eventsMax) continue;
      yield { events: single, setAsideBy: undefined };
      single = [];
      continue;
    }
    const batch = batches.get(event.batchId) ?? { events: [], bytes: 0 };
    batches.set(event.batchId, batch);
    batch.events.push(event);
    batch.bytes += event.payload.length;
    heldBytes += event.payload.length;
    if (batch.events.length === event.batchEvents) yield take(event.batchId);
    for (const [oldest] of batches) {
      if (heldBytes <= heldBytesMax) break;
      yield take(oldest);
    }
  }
  if (single.length > 0) yield { events: single, setAsideBy: undefined };
  for (const id of [...batches.keys()]) yield take(id);
}
