import type { JsMsg } from '@nats-io/jetstream';

export interface StreamMessage {
  /** The stream's sequence. */
  readonly seq: number;
  readonly subject: string;
  readonly data: Uint8Array;
  /** The first value of each header. */
  readonly headers: Readonly<Record<string, string>>;
  /** When the stream stored it. */
  readonly timeMs: number;
  /** How many messages of the stream lie behind it. */
  readonly pending: number;
}

export function toStreamMessage(message: JsMsg): StreamMessage {
  const { info } = message;
  const headers: Record<string, string> = {};
  for (const [key, values] of message.headers ?? []) headers[key] = values[0] ?? '';
  return {
    seq: message.seq,
    subject: message.subject,
    data: message.data,
    headers,
    timeMs: info.timestampNanos / 1e6,
    pending: info.pending,
  };
}
