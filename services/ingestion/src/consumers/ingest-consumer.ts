import { consumeDurable, type NatsLink, streamInfo } from '@millrace/events';
import type { Clock } from '@millrace/kernel';
import type { AcceptBatch, Quarantine } from '../app/accept-batch.ts';
import { type Definitions, isRegistered, unknownSource } from '../app/definitions.ts';
import type { IngestionMetrics } from '../app/ingestion-metrics.ts';
import { formOfMediaType } from '../domain/open-payload.ts';
import { problem } from '../domain/problem.ts';
import { operationHeader, type RawEvent } from '../domain/raw-event.ts';
import { parseTimeUs } from '../domain/timestamps.ts';

type Message = {
  readonly seq: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeMs: number;
};

const prefix = 'millrace.ingest.';

/**
 * `millrace.ingest.<source>`: one event a message, plain JSON, a CloudEvent, or in the format of the source: `Content-Type` says which. Messages come in groups and are acknowledged when
 * their events are durable in EVENTS or QUARANTINE; a crash in between redelivers them, and their ids make that harmless.
 */
export async function consumeIngest(deps: {
  readonly link: NatsLink;
  readonly signal: AbortSignal;
  readonly maxAckPending: number;
  readonly accept: AcceptBatch;
  readonly definitions: Definitions;
  readonly quarantine: Quarantine;
  readonly clock: Clock;
  readonly metrics: IngestionMetrics;
}): Promise<void> {
  const { link, signal, maxAckPending, accept, definitions, quarantine, clock, metrics } = deps;
  const { createdMs } = await streamInfo(link, 'INGEST');
  const toRawEvent = rawEventOf(createdMs);

  return consumeDurable(link, { stream: 'INGEST', durable: 'ingestion', signal, maxAckPending }, async (messages) => {
    const bySource = Map.groupBy(messages as readonly Message[], ({ subject }) => subject.slice(prefix.length));
    await Promise.all(
      [...bySource].map(async ([source, group]) => {
        if (!(await isRegistered(definitions, source))) return refuse(source, group);
        const traceparent = group.find(({ headers }) => headers.traceparent)?.headers.traceparent;
        for (let from = 0; from < group.length; from += 1_000) {
          // nobody waits for an answer: what blocks a caller's batch sets these events aside
          await accept(source, group.slice(from, from + 1_000).map(toRawEvent), { traceparent, onBlock: 'quarantine' });
        }
      }),
    );
  });

  async function refuse(source: string, group: readonly Message[]): Promise<void> {
    const why = problem('UNKNOWN_SOURCE', '', unknownSource(source, definitions.current().sources.keys()).message);
    const rejected = group.map((message) => {
      const event = toRawEvent(message);
      return { source, sourceVersion: '', event, id: event.id, why };
    });
    await quarantine.keep(rejected, clock.nowUs());
    for (const _ of group) metrics.quarantined(source, why.reason);
  }
}

/**
 * Without an id of its own, the message's place in INGEST is its id: enough for redeliveries, blind to publishers that retry. The place is the number of
 * the change too, as a message that comes again must not undo a later one; the stream's age stands before it, so that one that is made anew goes on.
 */
function rawEventOf(createdMs: number): (message: Message) => RawEvent {
  const age = BigInt(Math.floor(createdMs / 1000)) << 33n;
  return ({ seq, data, headers, timeMs }) => {
    const timeUs = parseTimeUs(headers['Millrace-Event-Time'] ?? '');
    const operation = headers[operationHeader]?.toLowerCase();
    return {
      id: headers['Millrace-Event-Id'] ?? headers['Nats-Msg-Id'] ?? `nats-${timeMs}-${seq}`,
      eventTimeUs: Number.isNaN(timeUs) ? 0 : timeUs,
      payload: data,
      form: formOf(headers),
      writer: headers['Millrace-Schema-Version'] ?? '',
      headers,
      sequence: age + BigInt(seq),
      ...(operation === undefined ? {} : { operation }),
    };
  };
}

/** JSON may be a CloudEvent that does not say so. */
function formOf(headers: Message['headers']): RawEvent['form'] {
  const name = Object.keys(headers).find((each) => each.toLowerCase() === 'content-type');
  const form = formOfMediaType(headers[name ?? ''] ?? '') ?? 'open';
  return form === 'fields' ? 'open' : form;
}
