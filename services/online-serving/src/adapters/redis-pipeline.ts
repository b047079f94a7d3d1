import type { EntityRead, TakeRows } from '../app/row-store.ts';
import type { StoredRow } from '../domain/evaluate.ts';

/** The commands of reads, in order: those that Redis has been sent, and behind them those that wait here until it has fewer. */
export type RedisPipeline = {
  /** Commands that are not answered, sent or not. */
  readonly waiting: number;
  /** Some commands are not sent. */
  readonly held: boolean;
  /** Resolves as a RowStore's read does. */
  add(reads: readonly EntityRead[], timeoutMs: number, take: TakeRows): Promise<readonly number[]>;
  /** Sends as many commands as Redis should have, in one write. */
  send(): void;
  /** The next answer: rows, or undefined for an error. */
  answer(values: readonly StoredRow[] | undefined): void;
  /** Nothing that waits will be answered. */
  lost(): void;
};

export type RedisPipelineOptions = {
  readonly encode: (read: EntityRead) => string;
  readonly write: (text: string) => void;
  readonly onFailure: (cause: 'timeout' | 'disconnected') => void;
  /** The oldest command was sent so long ago, and a read has just given up. */
  readonly onStall: (forMs: number) => void;
};

/**
 * Commands that Redis has at most. It carries out all it has before it writes their answers out, 64 KiB at a time: with thousands, it and we
 * work by turns instead of side by side (100 × 50 at twice the load: 0.7 of the answers with any number, each of two cores idle for a quarter
 * of the time). A thousand keep it busy for two milliseconds and more, longer than a round trip.
 */
const sentMax = 1_000;

/** The commands of one read, which are answered in order. */
type Batch = {
  readonly take: TakeRows;
  readonly reads: readonly EntityRead[];
  sentMs: number;
  /** Commands that Redis is to answer; fewer than the reads when it was cut short. */
  count: number;
  sent: number;
  /** Commands that Redis has answered, with rows or with an error. */
  answered: number;
  readonly refused: number[];
  /** Undefined once it is settled: what still comes in is passed over, what is not sent never is. */
  waits: { resolve(unanswered: readonly number[]): void; reject(error: unknown): void } | undefined;
  timer: NodeJS.Timeout | undefined;
};

export function createRedisPipeline({ encode, write, onFailure, onStall }: RedisPipelineOptions): RedisPipeline {
  // in the order of their sending: before `next` all is sent
  let batches: Batch[] = [];
  let head = 0;
  let next = 0;
  let waiting = 0;
  let sent = 0;

  function settle(batch: Batch, cause: 'timeout' | 'disconnected' | undefined): void {
    const { waits, refused, answered, reads } = batch;
    if (!waits) return;
    batch.waits = undefined;
    clearTimeout(batch.timer);
    if (cause !== undefined) onFailure(cause);
    waits.resolve([...refused, ...range(answered, reads.length)]);
  }

  function expire(batch: Batch): void {
    settle(batch, 'timeout');
    const oldest = batches[head];
    if (oldest && oldest.sent > 0) onStall(performance.now() - oldest.sentMs);
  }

  /** Nobody waits for what is not sent. */
  function cutShort(batch: Batch): void {
    waiting -= batch.count - batch.sent;
    batch.count = batch.sent;
  }

  /** Batches that are answered leave from the front, those too that were cut short. */
  function leave(): void {
    for (let batch = batches[head]; batch && batch.answered === batch.count; batch = batches[head]) {
      if (next === head) next++;
      head++;
      settle(batch, undefined);
    }
    if (head > 1024 && head * 2 > batches.length) {
      batches = batches.slice(head);
      next -= head;
      head = 0;
    }
  }

  return {
    get waiting() {
      return waiting;
    },
    get held() {
      return next < batches.length;
    },
    add(reads, timeoutMs, take) {
      return new Promise((resolve, reject) => {
        const batch: Batch = {
          take,
          reads,
          sentMs: Number.NaN,
          count: reads.length,
          sent: 0,
          answered: 0,
          refused: [],
          waits: { resolve, reject },
          timer: undefined,
        };
        batch.timer = setTimeout(() => expire(batch), timeoutMs);
        batches.push(batch);
        waiting += reads.length;
      });
    },
    send() {
      let text = '';
      for (let batch = batches[next]; batch; batch = batches[next]) {
        if (!batch.waits) cutShort(batch);
        else if (sent >= sentMax) break;
        else if (batch.sent === 0) batch.sentMs = performance.now();
        const until = Math.min(batch.count, batch.sent + Math.max(0, sentMax - sent));
        sent += until - batch.sent;
        for (; batch.sent < until; batch.sent++) text += encode(batch.reads[batch.sent] as EntityRead);
        if (batch.sent < batch.count) break;
        next++;
      }
      leave();
      if (text !== '') write(text);
    },
    answer(values) {
      const batch = batches[head];
      if (!batch) return;
      waiting--;
      sent--;
      if (values === undefined) batch.refused.push(batch.answered);
      else if (batch.waits) {
        try {
          batch.take(batch.answered, values);
        } catch (error) {
          clearTimeout(batch.timer);
          batch.waits.reject(error);
          batch.waits = undefined;
        }
      }
      batch.answered++;
      if (batch.answered === batch.count) leave();
    },
    lost() {
      const all = batches.slice(head);
      batches = [];
      head = 0;
      next = 0;
      waiting = 0;
      sent = 0;
      for (const batch of all) settle(batch, 'disconnected');
    },
  };
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}
