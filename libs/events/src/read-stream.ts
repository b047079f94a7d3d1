import { newId } from '@millrace/kernel';
import { AckPolicy, DeliverPolicy, ReplayPolicy } from '@nats-io/jetstream';
import type { NatsLink } from './link.ts';
import { stopWhenLost } from './lost.ts';
import { type StreamMessage, toStreamMessage } from './message.ts';

export interface ReadOptions {
  readonly stream: string;
  /** The first sequence to read; 0 and 1 are the beginning. */
  readonly fromSeq: number;
  /** Only subjects that match. */
  readonly filter?: string;
  readonly signal: AbortSignal;
  /** Messages asked for ahead of the reader; default 256. */
  readonly batch?: number;
}

const pauseMs = 100;
const heartbeatMs = 1_000;
const second = 1e9;

/**
 * A stream's messages in its order, without gap or repetition, until the signal aborts. Nothing is acknowledged: the reader keeps its place.
 * A consumer that is lost (a restart, a missed heartbeat, a gap) is made again at the place after the last message.
 */
export async function* readStream(link: NatsLink, options: ReadOptions): AsyncGenerator<StreamMessage> {
  let next = Math.max(1, options.fromSeq);
  while (!options.signal.aborted && !link.nc.isClosed()) {
    try {
      for await (const message of readOnce(link, options, next)) {
        if (message.seq < next) continue;
        next = message.seq + 1;
        yield message;
      }
    } catch {
      // the server is away or does not know the stream yet: try again
    }
    if (!options.signal.aborted) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** Ends when the consumer is lost. */
async function* readOnce({ js, jsm }: NatsLink, options: ReadOptions, fromSeq: number): AsyncGenerator<StreamMessage> {
  const { stream, filter, signal, batch = 256 } = options;
  const { name } = await jsm.consumers.add(stream, {
    name: `read-${newId()}`,
    ack_policy: AckPolicy.None,
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: fromSeq,
    replay_policy: ReplayPolicy.Instant,
    inactive_threshold: 30 * second,
    mem_storage: true,
    num_replicas: 1,
    ...(filter === undefined ? {} : { filter_subject: filter }),
  });
  const consumer = await js.consumers.get(stream, name);
  const messages = await consumer.consume({
    max_messages: batch,
    idle_heartbeat: heartbeatMs,
    expires: 5_000,
    abort_on_missing_resource: true,
  });
  const stop = () => messages.stop();
  signal.addEventListener('abort', stop, { once: true });
  void stopWhenLost(messages);
  let delivered = 0;
  try {
    for await (const message of messages) {
      // a message that the consumer sent and we did not get: read again from the last one that we have
      if (message.info.deliverySequence !== ++delivered) return;
      yield toStreamMessage(message);
    }
  } finally {
    signal.removeEventListener('abort', stop);
    messages.stop();
    void jsm.consumers.delete(stream, name).catch(() => undefined);
  }
}
