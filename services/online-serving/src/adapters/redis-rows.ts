import { createRowReader, type Hot, rowField } from '@millrace/hot';
import type { Telemetry } from '@millrace/runtime';
import type { RowStore } from '../app/read-features.ts';
import type { StoredRow } from '../domain/evaluate.ts';
import type { PlannedEntity } from '../domain/plan.ts';

/** Rows from Redis: one HMGET for each entity instance, all of a request in one pipeline. */
export function createRedisRows(deps: { readonly hot: Hot; readonly telemetry: Telemetry }): RowStore {
  const reader = createRowReader(deps.hot);
  const failures = deps.telemetry.metrics.counter(
    'millrace_serving_store_failures_total',
    'reads that the row store did not answer',
    ['cause'],
  );
  const fieldsOf = new WeakMap<PlannedEntity, readonly string[]>();

  function fields(entity: PlannedEntity): readonly string[] {
    let names = fieldsOf.get(entity);
    if (!names) {
      names = entity.versions.map(({ view, version }) => rowField(view, version));
      fieldsOf.set(entity, names);
    }
    return names;
  }

  return {
    read(reads, timeoutMs) {
      return new Promise((resolve) => {
        const abort = new AbortController();
        const giveUp = (cause: string) => {
          failures.inc(1, { cause });
          clearTimeout(timer);
          resolve(reads.map(() => undefined));
        };
        const timer = setTimeout(() => {
          abort.abort();
          giveUp('timeout');
        }, timeoutMs);
        reader
          .read(
            reads.map((read) => read.key),
            reads.map((read) => fields(read.entity)),
            abort.signal,
          )
          .then(
            (rows: (readonly StoredRow[])[]) => {
              clearTimeout(timer);
              resolve(rows);
            },
            () => {
              if (!abort.signal.aborted) giveUp('error');
            },
          );
      });
    },
  };
}
