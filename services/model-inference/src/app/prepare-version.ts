import type { ModelBook } from './model-book.ts';

interface Held {
  readonly model: string;
  readonly version: string;
}

/** Loads versions that nothing names yet, so that what names them next finds them ready. */
export function createPreparation(deps: { readonly book: ModelBook; readonly follow: () => Promise<void> }) {
  const held = new Set<Held>();
  return {
    wanted: (): readonly Held[] => [...held],
    /** Keeps the version until `done`; resolves when it is ready. UNKNOWN_MODEL, MODEL_NOT_READY when unloaded, MODEL_LOAD_FAILED. */
    async prepare(model: string, version: string): Promise<{ done(): void }> {
      const one = { model, version };
      const done = () => void held.delete(one);
      held.add(one);
      try {
        await deps.follow();
        await deps.book.settle(model);
        deps.book.ready(model, version);
        return { done };
      } catch (error) {
        done();
        throw error;
      }
    },
  };
}
