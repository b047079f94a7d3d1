import { dimensionOf, type ViewDefinition, viewFeatureTypes } from '@millrace/features';
import { sleep, toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';

/** A feature that can be searched: the last vector of each entity. */
export interface IndexedFeature {
  readonly view: ViewDefinition;
  readonly feature: ViewDefinition['features'][number];
  readonly dimension: number;
}

export interface VectorStore {
  /** Brings the feature's table up to history. */
  update(indexed: IndexedFeature, signal: AbortSignal): Promise<void>;
  /** Drops the tables of every other feature. */
  keepOnly(indexed: readonly IndexedFeature[]): Promise<void>;
}

/** Keeps the tables that vectors are searched in up with history, at intervals; what fails is tried again at the next. */
export function createVectorIndexer(deps: {
  readonly views: () => readonly ViewDefinition[];
  readonly store: VectorStore;
  readonly intervalMs: number;
  readonly telemetry: Telemetry;
}): { run(signal: AbortSignal): Promise<void> } {
  const { views, store, intervalMs, telemetry } = deps;
  return {
    async run(signal) {
      let kept = '';
      let told = '';
      while (!signal.aborted) {
        try {
          const indexed = views().flatMap(indexedFeatures);
          const names = indexed.map(({ view, feature }) => `${view.name}@${view.version}.${feature.name}`).join();
          if (names !== kept) await store.keepOnly(indexed);
          kept = names;
          for (const each of indexed) {
            if (signal.aborted) return;
            await store.update(each, signal);
          }
        } catch (thrown) {
          if (signal.aborted) return;
          const { reason, message } = toMeshError(thrown, 'could not index vectors');
          if (message !== told) telemetry.log.warn({ event: 'vector_index_failed', reason, message });
          told = message;
        }
        await sleep(intervalMs, signal);
      }
    },
  };
}

function indexedFeatures(view: ViewDefinition): IndexedFeature[] {
  const types = viewFeatureTypes(view);
  return view.features.flatMap((feature, at) => {
    const dimension = dimensionOf(types[at] ?? '');
    return feature.function === 'last' && dimension > 0 ? [{ view, feature, dimension }] : [];
  });
}
