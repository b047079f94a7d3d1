import { events } from '@millrace/contracts';
import { type NatsLink, subjects } from '@millrace/events';
import type { Logger } from '@millrace/runtime';
import type { NearRows } from '../app/near-rows.ts';

/** Forgets kept rows that feature-compute says have changed. A message that is lost costs nothing but time: kept rows expire. */
export function followRowChanges(deps: {
  readonly link: NatsLink;
  readonly near: Pick<NearRows, 'forget'>;
  readonly log: Logger;
}): { close(): void } {
  const subscription = deps.link.nc.subscribe(subjects.features('*'), {
    callback(error, message) {
      if (error) return deps.log.warn({ event: 'row_changes_failed', error: error.message });
      try {
        const { view, version, keys } = events.RowsChanged.decode(message.data);
        for (const key of keys) deps.near.forget(key, view, version);
      } catch (thrown) {
        deps.log.debug({ event: 'row_changes_skipped', error: String(thrown) });
      }
    },
  });
  return { close: () => subscription.unsubscribe() };
}
