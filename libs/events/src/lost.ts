import type { ConsumerMessages } from '@nats-io/jetstream';

const lost: ReadonlySet<string> = new Set([
  'heartbeats_missed',
  'consumer_not_found',
  'stream_not_found',
  'consumer_deleted',
  'no_responders',
]);

/** Ends the messages when the server has lost the consumer or does not answer: the caller makes it anew. */
export async function stopWhenLost(messages: ConsumerMessages): Promise<void> {
  for await (const { type } of messages.status()) {
    if (lost.has(type)) return messages.stop();
  }
}
