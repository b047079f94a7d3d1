import { events } from '@millrace/contracts';
import { type NatsLink, subjects } from '@millrace/events';
import type { Row, RowWriter } from '../app/row-flusher.ts';

/** Tells `millrace.features.<view>` which rows were written, once they are. In no stream: who misses it waits for its own bound. */
export function tellingChanges(writer: RowWriter, { nc }: NatsLink): RowWriter {
  return {
    async write(rows) {
      const outcome = await writer.write(rows);
      if (!nc.isClosed()) {
        for (const [field, keys] of keysByField(rows)) {
          const at = field.lastIndexOf('@');
          const [view, version] = [field.slice(0, at), field.slice(at + 1)];
          nc.publish(subjects.features(view), events.RowsChanged.encode({ view, version, keys }).finish());
        }
      }
      return outcome;
    },
  };
}

function keysByField(rows: readonly Row[]): ReadonlyMap<string, string[]> {
  const byField = new Map<string, string[]>();
  for (const { field, key } of rows) {
    const keys = byField.get(field);
    if (keys) keys.push(key);
    else byField.set(field, [key]);
  }
  return byField;
}
