import { createInbox, type MsgHdrs, type NatsConnection } from '@nats-io/nats-core';

export interface Ack {
  readonly seq: number;
  readonly duplicate: boolean;
}

/** Publishes to JetStream, each message with an address of its own for the answer. */
export interface Acks {
  /** Rejects when JetStream refuses, nobody answers, or `answerMs` have passed. */
  publish(subject: string, bytes: Uint8Array, headers: MsgHdrs): Promise<Ack>;
}

interface Waiting {
  readonly resolve: (ack: Ack) => void;
  readonly reject: (error: Error) => void;
  readonly untilMs: number;
}

const sweepMs = 250;

/**
 * One subscription takes the answers of all messages. The client's own request makes two errors with stack traces and a timer for every
 * message, which was a third of the time of a service that publishes many small ones.
 */
export function createAcks(nc: NatsConnection, { answerMs }: { readonly answerMs: number }): Acks {
  const inbox = createInbox();
  const waiting = new Map<string, Waiting>();
  let sent = 0;
  let sweeper: NodeJS.Timeout | undefined;

  nc.subscribe(`${inbox}.*`, {
    callback: (error, message) => {
      if (error) return;
      const token = message.subject.slice(inbox.length + 1);
      const asked = waiting.get(token);
      if (!asked) return;
      waiting.delete(token);
      if (message.headers && message.headers.code > 0)
        return asked.reject(new Error(`nobody answers: ${message.headers.code} ${message.headers.description}`));
      const answer = message.json<{ seq?: number; duplicate?: boolean; error?: { description?: string } }>();
      if (answer.error || answer.seq === undefined)
        return asked.reject(new Error(answer.error?.description ?? 'not an acknowledgement'));
      asked.resolve({ seq: answer.seq, duplicate: answer.duplicate === true });
    },
  });

  function sweep(): void {
    const nowMs = performance.now();
    for (const [token, { untilMs, reject }] of waiting) {
      if (untilMs > nowMs && !nc.isClosed()) continue;
      waiting.delete(token);
      reject(new Error(`no acknowledgement in ${answerMs} ms`));
    }
    if (waiting.size > 0) return;
    clearInterval(sweeper);
    sweeper = undefined;
  }

  return {
    publish: (subject, bytes, headers) =>
      new Promise((resolve, reject) => {
        const token = (sent++).toString(36);
        waiting.set(token, { resolve, reject, untilMs: performance.now() + answerMs });
        sweeper ??= setInterval(sweep, sweepMs);
        try {
          nc.publish(subject, bytes, { reply: `${inbox}.${token}`, headers });
        } catch (error) {
          waiting.delete(token);
          reject(error);
        }
      }),
  };
}
