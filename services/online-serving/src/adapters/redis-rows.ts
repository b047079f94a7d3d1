import { rowField } from '@millrace/hot';
import type { Logger, Metrics } from '@millrace/runtime';
import type { EntityRead, RowStore } from '../app/row-store.ts';
import type { PlannedEntity } from '../domain/plan.ts';
import { createRedisPipeline, range } from './redis-pipeline.ts';
import { openRedisSocket } from './redis-socket.ts';
import { createRespReader } from './resp-reader.ts';

/** Commands that wait for Redis at most; beyond it reads are answered as unavailable at once. */
const commandsWaitingMax = 200_000;
/** A connection whose oldest command has waited this long is given up and opened again. */
const stallMs = 5_000;

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
  let flushing = false;

  const pipeline = createRedisPipeline({
    encode,
    write: (text) => socket.write(text),
    onFailure: (cause) => failures.inc(1, { cause }),
    onStall(forMs) {
      if (forMs > stallMs) socket.reopen('stalled');
    },
  });
  const socket = await openRedisSocket({
    url: options.url,
    log,
    reader: () => {
      let told = false;
      const read = createRespReader({
        row: (values) => pipeline.answer(values),
        line(text) {
          if (!told) log.warn({ event: 'redis_refused_read', text });
          told = true;
          failures.inc(1, { cause: 'refused' });
          pipeline.answer(undefined);
        },
      });
      return (chunk) => {
        read(chunk);
        if (pipeline.held) pipeline.send();
      };
    },
    onDown: () => pipeline.lost(),
  });

  function flush(): void {
    flushing = false;
    waitingGauge.set(pipeline.waiting);
    pipeline.send();
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
      if (!socket.up() || pipeline.waiting + reads.length > commandsWaitingMax) {
        failures.inc(1, { cause: socket.up() ? 'backlog' : 'disconnected' });
        return Promise.resolve(range(0, reads.length));
      }
      if (!flushing) {
        flushing = true;
        setImmediate(flush);
      }
      return pipeline.add(reads, timeoutMs, take);
    },
    close: () => socket.close(),
  };
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
