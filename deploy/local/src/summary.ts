import { MeshError } from '@millrace/kernel';
import type { Clients } from './clients.ts';

/** The last line of `npm start -- --once`. */
export interface Summary {
  readonly events_published: number;
  readonly events_in_history: number;
  readonly events_quarantined: number;
  readonly rows_written: number;
  readonly freshness_ms: { readonly p50: number; readonly p99: number };
  readonly predictions: number;
  /** Predictions whose outcome arrived within the replay: what the AUCs are over. */
  readonly outcomes: number;
  readonly auc: number;
  readonly auc_baseline_route: number;
  readonly auc_baseline_origin_hour: number;
  readonly parity: { readonly compared: number; readonly mismatched: number };
  /** What the mesh proved by itself of the reads that it sampled. */
  readonly verifier: { readonly compared: number; readonly mismatched: number; readonly lag_ms: number };
  readonly events_per_s: number;
}

/** What is in history and in quarantine, over all sources. */
export async function historyTotals(clients: Clients): Promise<{ events: number; quarantined: number }> {
  const [{ sources }, { total }] = await Promise.all([
    clients.ingestion.getProgress({ source: '' }),
    clients.ingestion.listQuarantine({
      source: '',
      reason: '',
      expectation: '',
      field: '',
      afterPosition: 0n,
      limit: 1,
    }),
  ]);
  return { events: sources.reduce((sum, source) => sum + Number(source.historyEvents), 0), quarantined: Number(total) };
}

/** Quality of the deployment so far, as model-inference sees it. */
export async function quality(clients: Clients): Promise<{ auc: number; outcomes: number }> {
  const { models } = await clients.predictions.getQuality({ deployment: 'flight_delay' });
  const model = models[0];
  return { auc: model?.auc ?? Number.NaN, outcomes: Number(model?.outcomes ?? 0n) };
}

/** Asks until the answer is yes. DEADLINE_EXCEEDED says what was waited for. */
export async function eventually(
  ask: () => Promise<boolean>,
  options: { readonly timeoutMs: number; readonly what: string; readonly signal?: AbortSignal },
): Promise<void> {
  const untilMs = Date.now() + options.timeoutMs;
  while (!(await ask())) {
    if (options.signal?.aborted) throw new MeshError('CANCELLED', `interrupted while waiting for ${options.what}`, {});
    if (Date.now() > untilMs) {
      throw new MeshError(
        'DEADLINE_EXCEEDED',
        `waited ${options.timeoutMs / 1000} s for ${options.what}; look at .millrace/logs`,
        { what: options.what },
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
