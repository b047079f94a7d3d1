import { MeshError } from '@millrace/kernel';
import { headers as newHeaders } from '@nats-io/nats-core';
import { createAcks } from './acks.ts';
import type { NatsLink } from './link.ts';

export interface PublishOptions {
  /** Makes a repeated publish within the stream's duplicate window harmless. */
  readonly msgId?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Ends the tries. */
  readonly signal?: AbortSignal;
}

export interface Publisher {
  /** Resolves once JetStream has acknowledged; tries again, with the same message id, through restarts until the signal aborts. */
  publish(
    subject: string,
    bytes: Uint8Array,
    options?: PublishOptions,
  ): Promise<{ readonly seq: number; readonly duplicate: boolean }>;
}

const answerMs = 5_000;
const pauseMs = 100;

/** Never more than `maxInFlight` messages unacknowledged; the rest wait their turn. */
export function createPublisher({ nc }: NatsLink, { maxInFlight }: { readonly maxInFlight: number }): Publisher {
  const acks = createAcks(nc, { answerMs });
  let inFlight = 0;
  const waiting: (() => void)[] = [];

  async function attempts(subject: string, bytes: Uint8Array, options: PublishOptions) {
    const maxBytes = nc.info?.max_payload ?? Number.POSITIVE_INFINITY;
    if (bytes.length > maxBytes) {
      throw new MeshError(
        'LIMIT_EXCEEDED',
        `a message of ${bytes.length} bytes for "${subject}" is over NATS's limit of ${maxBytes}; raise max_payload or send smaller batches`,
        { subject, bytes: bytes.length, limit: maxBytes },
      );
    }
    const headers = newHeaders();
    for (const [key, value] of Object.entries(options.headers ?? {})) headers.set(key, value);
    if (options.msgId !== undefined) headers.set('Nats-Msg-Id', options.msgId);
    for (;;) {
      if (options.signal?.aborted)
        throw new MeshError('CANCELLED', `publishing to "${subject}" was given up before JetStream acknowledged`, {
          subject,
        });
      try {
        return await abortable(acks.publish(subject, bytes, headers), options.signal);
      } catch (cause) {
        if (nc.isClosed())
          throw new MeshError('SHUTTING_DOWN', 'the connection to NATS is closed', { subject }, { cause });
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }
  }

  return {
    async publish(subject, bytes, options = {}) {
      while (inFlight >= maxInFlight) await new Promise<void>((resolve) => waiting.push(resolve));
      inFlight++;
      try {
        return await attempts(subject, bytes, options);
      } finally {
        inFlight--;
        waiting.shift()?.();
      }
    },
  };
}

function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
