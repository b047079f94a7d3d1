import type { NatsLink } from './link.ts';
import type { StreamMessage } from './message.ts';
import { readStream } from './read-stream.ts';
import { type StreamName, streamInfo } from './streams.ts';

export interface BackwardsOptions {
  readonly stream: StreamName;
  readonly filter: string;
  readonly signal: AbortSignal;
}

const windowMessages = 1_000;

/** A stream's messages that match, newest first, as it is when the reading begins; a window of the stream after the other, so that who has enough can stop. */
export async function* readBackwards(link: NatsLink, options: BackwardsOptions): AsyncGenerator<StreamMessage> {
  const { firstSeq, lastSeq } = await streamInfo(link, options.stream);
  for (let to = lastSeq; to >= Math.max(firstSeq, 1); to -= windowMessages) {
    const from = Math.max(to - windowMessages + 1, firstSeq, 1);
    yield* (await readWindow(link, options, from, to)).reverse();
  }
}

async function readWindow(
  link: NatsLink,
  { stream, filter, signal }: BackwardsOptions,
  from: number,
  to: number,
): Promise<StreamMessage[]> {
  const found: StreamMessage[] = [];
  // a reader of what never comes would wait for it
  const query = { seq: from, next_by_subj: filter };
  const first = await link.jsm.streams.getMessage(stream, query).catch(() => null);
  if (first === null || first.seq > to) return found;
  for await (const message of readStream(link, { stream, filter, fromSeq: first.seq, signal })) {
    if (message.seq > to) break;
    found.push(message);
    if (message.seq === to || message.pending === 0) break;
  }
  return found;
}
