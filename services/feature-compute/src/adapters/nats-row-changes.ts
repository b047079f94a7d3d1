import { events } from '@millrace/contracts';
import { type NatsLink, subjects } from '@millrace/events';
import type { Row, RowWriter } from '../app/row-flusher.ts';

/** Tells `millrace.features.<view>` which rows were written, once they are. In no stream: who misses it waits for its own bound. */
export function tellingChanges(writer: RowWriter, { nc }: NatsLink): RowWriter {
  return {
    async write(rows) {
      const outcome = await writer.write(rows);
      if (!nc.isClosed()) {
        for (const [{ name, version }, keys] of keysByView(rows))
          nc.publish(subjects.features(name), events.RowsChanged.encode({ view: name, version, keys }).finish());
      }
      return outcome;
    },
  };
}

function keysByView(rows: readonly Row[]): ReadonlyMap<Row['view'], string[]> {
  const byView = new Map<Row['view'], string[]>();
  for (const { view, key } of rows) {
    const keys = byView.get(view);
    if (keys) keys.push(key);
    else byView.set(view, [key]);
  }
  return byView;
}
