import { MeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { Engine } from './engine.ts';
import type { StateStore } from './state-store.ts';
import { wipeStates } from './view-keeper.ts';

/**
 * Makes the last checkpoint a sound start. Views whose history was being merged are wiped: they start over. When the
 * stream no longer holds the events after the checkpoint, every view is wiped and filled from history up to where the stream starts.
 */
export async function recoverEngine(
  engine: Engine,
  store: StateStore,
  stream: { readonly first: number; readonly last: number },
  telemetry: Telemetry,
): Promise<void> {
  if (stream.last < engine.reached) {
    throw new MeshError(
      'CORRUPT_DATA',
      `the EVENTS stream ends at position ${stream.last}, before the checkpoint at ${engine.reached}: it was replaced; ` +
        'remove the data directory of feature-compute and of ingestion to start from the new stream',
      { stream: stream.last, checkpoint: engine.reached },
    );
  }
  const gone = stream.first > engine.position + 1;
  if (gone) {
    telemetry.log.warn({ event: 'stream_starts_later', first: stream.first, position: engine.position });
    engine.skipTo(stream.first - 1);
  }
  for (const view of [...engine.views.values()]) {
    if (view.record.phase !== 'warming' && !(gone && view.record.phase === 'ready')) continue;
    engine.forget(view);
    await wipeStates(store, view.id);
    telemetry.log.info({ event: 'view_starts_over', view: view.id, position: engine.position });
  }
}
