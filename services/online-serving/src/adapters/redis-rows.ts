import { rowField } from '@millrace/hot';
import type { Logger, Metrics } from '@millrace/runtime';
import type { EntityRead, RowStore, TakeRows } from '../app/row-store.ts';
import type { StoredRow } from '../domain/evaluate.ts';
import type { PlannedEntity } from '../domain/plan.ts';
import { openRedisSocket } from './redis-socket.ts';
import { createRespReader } from './resp-reader.ts';

/** Commands that wait for Redis at most; beyond it reads are answered as unavailable at once. */
const commandsWaitingMax = 200_000;
/** A connection whose oldest command has waited this long is given up and opened again. */
const stallMs = 5_000;

/** The commands of one read, which are answered in order. */
type Batch = {
  readonly take: TakeRows;
  readonly count: number;
  readonly sentMs: number;
  /** Commands that Redis has answered, with rows or with an error. */
  answered: number;
  readonly refused: number[];
  /** Undefined once it is settled: what still comes in is passed over. */
  waits: { resolve(unanswered: readonly number[]): void; reject(error: unknown): void } | undefined;
  timer: NodeJS.Timeout | undefined;
};

/**
 * Rows from Redis: one HMGET for each entity instance, and the commands of all reads of one turn of the event loop in one write.
 * It speaks RESP itself: see decisions/0001-own-redis-reader.md of this service.
 */
export async function openRedisRows(options: {
  readonly url: string;
  readonly log: Logger;
  readonly metrics: Metrics;
}): Promise<RowStore & { close(): void }> {
  const { log, metrics } = options;
  const failures = metrics.counter('millrace_serving_store_failures_total', 'reads that the row store did not answer', [
    'cause',
  ]);
  const waitingGauge = metrics.gauge(
    'millrace_serving_store_commands_waiting',
    'commands sent to the row store and not answered',
  );
  const commandOf = new WeakMap<PlannedEntity, (key: string) => string>();
  let batches: Batch[] = [];
  let head = 0;
  let waiting = 0;
  let out = '';
  let flushing = false;

  const socket = await openRedisSocket({
    url: options.url,
    log,
    reader: () => {
      let told = false;
      return createRespReader({
        row: (values) => answer(values),
        line(text) {
          if (!told) log.warn({ event: 'redis_refused_read', text });
          told = true;
          failures.inc(1, { cause: 'refused' });
          answer(undefined);
        },
      });
    },
    onDown: () => {
      const lost = batches.slice(head);
      batches = [];
      head = 0;
      waiting = 0;
      out = '';
      for (const batch of lost) settle(batch, 'disconnected');
    },
  });

  function answer(values: readonly StoredRow[] | undefined): void {
    const batch = batches[head];
    if (!batch) return;
    waiting--;
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
    if (batch.answered < batch.count) return;
    head++;
    if (head > 1024 && head * 2 > batches.length) {
      batches = batches.slice(head);
      head = 0;
    }
    settle(batch, undefined);
  }

  function settle(batch: Batch, cause: string | undefined): void {
    const { waits } = batch;
    if (!waits) return;
    batch.waits = undefined;
    clearTimeout(batch.timer);
    if (cause !== undefined) failures.inc(1, { cause });
    waits.resolve([...batch.refused, ...range(batch.answered, batch.count)]);
  }

  function flush(): void {
    flushing = false;
    waitingGauge.set(waiting);
    if (out === '') return;
    socket.write(out);
    out = '';
  }

  function encode(read: EntityRead): string {
    let command = commandOf.get(read.entity);
    if (!command) {
      command = commandFor(read.entity);
      commandOf.set(read.entity, command);
    }
    return command(read.key);
  }

  return {
    read(reads, timeoutMs, take) {
      if (!socket.up() || waiting + reads.length > commandsWaitingMax) {
        failures.inc(1, { cause: socket.up() ? 'backlog' : 'disconnected' });
        return Promise.resolve(range(0, reads.length));
      }
      return new Promise((resolve, reject) => {
        const batch: Batch = {
          take,
          count: reads.length,
          sentMs: performance.now(),
          answered: 0,
          refused: [],
          waits: { resolve, reject },
          timer: undefined,
        };
        batch.timer = setTimeout(() => {
          settle(batch, 'timeout');
          const oldest = batches[head];
          if (oldest && performance.now() - oldest.sentMs > stallMs) socket.reopen('stalled');
        }, timeoutMs);
        batches.push(batch);
        waiting += reads.length;
        for (const read of reads) out += encode(read);
        if (!flushing) {
          flushing = true;
          setImmediate(flush);
        }
      });
    },
    close: () => socket.close(),
  };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

/** Everything of the command but the key is made once for each entity of a plan. */
function commandFor(entity: PlannedEntity): (key: string) => string {
  const fields = entity.versions.map(({ view, version }) => bulk(rowField(view, version)));
  const start = `*${fields.length + 2}\r\n$5\r\nHMGET\r\n$`;
  const end = `\r\n${fields.join('')}`;
  return (key) => `${start}${Buffer.byteLength(key)}\r\n${key}${end}`;
}

function bulk(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}
