import type { ViewDefinition } from '@millrace/features';
import type { Hot, RowWriter as HotRowWriter } from '@millrace/hot';
import { rowField } from '@millrace/hot';
import type { HotIdentity } from '../app/hot-healer.ts';

/** What tells whether Redis lost rows: the marker key, and the server's own run id. */
export function redisIdentity(hot: Hot, writer: HotRowWriter): HotIdentity {
  return {
    runId: async () => /run_id:(\w+)/.exec(await hot.redis.info('server'))?.[1] ?? '',
    epochPresent: () => writer.epochPresent(),
    setEpoch: (id) => writer.setEpoch(id),
  };
}

/** Removes a view version's field from the hashes of entities. */
export function redisDropRows(hot: Hot): (keys: readonly string[], definition: ViewDefinition) => Promise<void> {
  return async (keys, definition) => {
    const field = rowField(definition.name, definition.version);
    const pipeline = hot.redis.pipeline();
    for (const key of keys) pipeline.hdel(key, field);
    await pipeline.exec();
  };
}
