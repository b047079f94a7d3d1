import { AckPolicy, type ConsumerMessages, DeliverPolicy, type JsMsg } from '@nats-io/jetstream';
import type { NatsLink } from './link.ts';
import { stopWhenLost } from './lost.ts';
import { type StreamMessage, toStreamMessage } from './message.ts';

export interface DurableOptions {
  readonly stream: string;
  readonly durable: string;
  readonly filter?: string;
  readonly signal: AbortSignal;
  /** Messages delivered and not yet acknowledged. */
  readonly maxAckPending: number;
}

const groupMax = 512;
const gatherMs = 5;
const pauseMs = 200;
const second = 1e9;

/**
 * Hands a durable consumer's messages over in groups (at most 512, gathered for at most 5 ms) and acknowledges a group once the handler
 * has resolved; when it throws the group is delivered again. Goes on through restarts until the signal aborts.
 */
export async function consumeDurable(
  link: NatsLink,
  options: DurableOptions,
  handle: (messages: readonly StreamMessage[]) => Promise<void>,
): Promise<void> {
  while (!options.signal.aborted && !link.nc.isClosed()) {
    try {
      await consumeOnce(link, options, handle);
    } catch {
      // the server is away or the handler failed: what was not acknowledged comes again
    }
    if (!options.signal.aborted) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

async function consumeOnce(
  { js, jsm }: NatsLink,
  options: DurableOptions,
  handle: (messages: readonly StreamMessage[]) => Promise<void>,
): Promise<void> {
  const { stream, durable, filter, signal, maxAckPending } = options;
  await jsm.consumers.add(stream, {
    durable_name: durable,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: 30 * second,
    max_ack_pending: maxAckPending,
    ...(filter === undefined ? {} : { filter_subject: filter }),
  });
  const consumer = await js.consumers.get(stream, durable);
  const messages = await consumer.consume({
    max_messages: groupMax,
    idle_heartbeat: 1_000,
    expires: 5_000,
    abort_on_missing_resource: true,
  });
  const stop = () => messages.stop();
  signal.addEventListener('abort', stop, { once: true });
  void stopWhenLost(messages);
  try {
    for await (const group of groups(messages)) {
      try {
        await handle(group.map(toStreamMessage));
        for (const message of group) message.ack();
      } catch (error) {
        for (const message of group) message.nak(pauseMs);
        throw error;
      }
    }
  } finally {
    signal.removeEventListener('abort', stop);
    messages.stop();
  }
}

async function* groups(messages: ConsumerMessages): AsyncGenerator<JsMsg[]> {
  const iterator = messages[Symbol.asyncIterator]();
  let pending = iterator.next();
  for (;;) {
    const first = await pending;
    if (first.done) return;
    const group = [first.value];
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), gatherMs);
    });
    pending = iterator.next();
    let ended = false;
    while (group.length < groupMax) {
      const next = await Promise.race([pending, late]);
      if (next === 'late') break;
      if (next.done) {
        ended = true;
        break;
      }
      group.push(next.value);
      pending = iterator.next();
    }
    clearTimeout(timer);
    yield group;
    if (ended) return;
  }
}
