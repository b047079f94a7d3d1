import { contentVersion, sleep } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { SourceDefinition } from '../domain/source-validator.ts';
import { type Fitted, needsFitted } from '../domain/treatments.ts';

export type FieldStatistics = Fitted & { readonly rows: number };

/** What was fitted to a field's history, once: the version is the hash of the numbers. */
export type FittedState = FieldStatistics & { readonly version: string; readonly fittedUs: number };

/** Where fitted states are kept, so that a restart treats values as before. */
export type FittedStore = {
  load(): Promise<Map<string, FittedState>>;
  put(key: string, state: FittedState): Promise<void>;
};

/** Fewer values than this say too little. */
const rowsMin = 30;
const lookEveryMs = 5_000;

/**
 * The mean, spread and quartiles of the fields that are imputed or whose outliers are told by them: fitted to history when a source
 * first asks for them, and again when a state is older than the interval.
 */
export async function openFittedStates(deps: {
  readonly store: FittedStore;
  readonly statistics: (source: SourceDefinition, field: string) => Promise<FieldStatistics>;
  readonly sources: () => Iterable<SourceDefinition>;
  readonly nowUs: () => number;
  readonly telemetry: Telemetry;
  readonly refitIntervalMs: number;
}) {
  const { store, telemetry } = deps;
  const states = await store.load();

  async function fitDue(): Promise<void> {
    for (const source of deps.sources()) {
      for (const field of source.spec.fields.filter(needsFitted)) {
        const key = keyOf(source.name, field.name);
        const known = states.get(key);
        if (known !== undefined && deps.nowUs() - known.fittedUs < deps.refitIntervalMs * 1000) continue;
        await fit(key, source, field.name);
      }
    }
  }

  async function fit(key: string, source: SourceDefinition, field: string): Promise<void> {
    try {
      const statistics = await deps.statistics(source, field);
      if (!(statistics.rows >= rowsMin) || !Number.isFinite(statistics.stddev)) return;
      const state = { ...statistics, version: contentVersion(statistics), fittedUs: deps.nowUs() };
      await store.put(key, state);
      states.set(key, state);
      telemetry.log.info({ event: 'field_fitted', source: source.name, field, ...state });
    } catch (cause) {
      const error = cause instanceof Error ? cause.message : String(cause);
      telemetry.log.warn({ event: 'field_not_fitted', source: source.name, field, error });
    }
  }

  return {
    of: (source: string, field: string): FittedState | undefined => states.get(keyOf(source, field)),
    async run(signal: AbortSignal): Promise<void> {
      while (!signal.aborted) {
        await fitDue();
        await sleep(lookEveryMs, signal);
      }
    },
  };
}

export type FittedStates = Awaited<ReturnType<typeof openFittedStates>>;

function keyOf(source: string, field: string): string {
  return `${source}.${field}`;
}
