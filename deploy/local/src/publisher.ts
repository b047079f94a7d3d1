import type { ingestion } from '@millrace/contracts';
import type { FlightEvent } from '@millrace/flights';
import { MeshError } from '@millrace/kernel';
import type { Clients } from './clients.ts';

/** What became of everything that was published. */
export interface PublishTotals {
  published: number;
  duplicates: number;
  rejected: number;
}

/** Publishes events over one stream per source and awaits the acknowledgement of each batch. */
export interface Publisher {
  readonly totals: Readonly<PublishTotals>;
  /** The position in the EVENTS stream of each source's last event of the batch. */
  publish(events: readonly FlightEvent[]): Promise<ReadonlyMap<string, bigint>>;
  close(): Promise<void>;
}

export function createPublisher(client: Clients['ingestion']): Publisher {
  const totals: PublishTotals = { published: 0, duplicates: 0, rejected: 0 };
  const streams = new Map<string, SourceStream>();
  const streamOf = (source: string): SourceStream => {
    const open = streams.get(source) ?? openStream(client, source);
    streams.set(source, open);
    return open;
  };
  return {
    totals,
    async publish(events) {
      const bySource = Map.groupBy(events, (event) => event.source);
      const acknowledged = await Promise.all(
        [...bySource].map(async ([source, part]) => {
          const response = await streamOf(source).send(part.map(toWire));
          totals.published += part.length - response.duplicates;
          totals.duplicates += response.duplicates;
          totals.rejected += response.rejections.length;
          return [source, response.position] as const;
        }),
      );
      return new Map(acknowledged);
    },
    async close() {
      await Promise.all([...streams.values()].map((stream) => stream.close()));
    },
  };
}

function toWire(event: FlightEvent): ingestion.Event {
  return { id: event.id, eventTimeUs: BigInt(event.eventTimeUs), json: Buffer.from(JSON.stringify(event.fields)) };
}

interface SourceStream {
  send(events: ingestion.Event[]): Promise<ingestion.PublishResponse>;
  close(): Promise<void>;
}

interface Waiting {
  readonly resolve: (response: ingestion.PublishResponse) => void;
  readonly reject: (error: unknown) => void;
}

function openStream(client: Clients['ingestion'], source: string): SourceStream {
  const waiting = new Map<bigint, Waiting>();
  const outbox: ingestion.PublishStreamRequest[] = [];
  let wake: () => void = () => {};
  let closed = false;
  let sequence = 0n;
  async function* requests(): AsyncGenerator<ingestion.PublishStreamRequest> {
    for (;;) {
      const next = outbox.shift();
      if (next) yield next;
      else if (closed) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }
  const failAll = (error: unknown) => {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  const read = async () => {
    try {
      for await (const { batchSequence, result, reason, message } of client.publishStream(requests(), {
        timeoutMs: 24 * 3600_000,
      })) {
        const waiter = waiting.get(batchSequence);
        waiting.delete(batchSequence);
        if (result) waiter?.resolve(result);
        else
          waiter?.reject(
            new MeshError('INTERNAL', `a batch for source "${source}" was refused: ${reason}: ${message}`, {
              source,
              reason,
            }),
          );
      }
      failAll(new MeshError('SERVICE_UNAVAILABLE', `the publish stream of source "${source}" ended`, { source }));
    } catch (thrown) {
      failAll(thrown);
    }
  };
  const reading = read();
  return {
    send(events) {
      sequence += 1n;
      const batchSequence = sequence;
      return new Promise((resolve, reject) => {
        waiting.set(batchSequence, { resolve, reject });
        outbox.push({ batchSequence, batch: { source, events } });
        wake();
      });
    },
    async close() {
      closed = true;
      wake();
      await reading;
    },
  };
}
