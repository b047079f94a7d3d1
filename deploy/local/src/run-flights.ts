import { join, resolve } from 'node:path';
import type { definitions } from '@millrace/contracts';
import { dayUs } from '@millrace/flights';
import { MeshError } from '@millrace/kernel';
import { type Endpoints, loadDefinitions } from '@millrace/sdk';
import { createBaselineScores } from './baselines.ts';
import { type Clients, openClients } from './clients.ts';
import { createFreshnessProbe } from './freshness.ts';
import type { StartOptions } from './options.ts';
import { createParityCheck } from './parity.ts';
import { createPublisher } from './publisher.ts';
import { loadHistory, type ReplayProgress, replay } from './replay.ts';
import { createScreen } from './screen.ts';
import { eventually, historyTotals, quality, type Summary } from './summary.ts';

const flightsDir = resolve(import.meta.dirname, '..', '..', 'examples', 'flights');
const sourceKinds: ReadonlySet<string> = new Set(['entity', 'source']);

/** Applies the flights definitions, loads history, replays flights, and says what came of it; undefined when it was interrupted. */
export async function runFlights(
  options: StartOptions,
  endpoints: Endpoints,
  signal: AbortSignal,
  say: (text: string) => void,
): Promise<Summary | undefined> {
  const clients = openClients(endpoints);
  const publisher = createPublisher(clients.ingestion);
  try {
    const all = await loadDefinitions([join(flightsDir, 'src', 'definitions.ts'), join(flightsDir, 'src', 'model.ts')]);
    const before = await historyTotals(clients);
    const window = await replayWindow(options, clients);
    await applyDefinitions(clients, all.filter(isSource), say);
    await loadPast(window, publisher, clients, say, signal);
    if (signal.aborted) return undefined;
    await applyDefinitions(clients, all, say);
    await viewsReady(clients, say, signal);

    const freshness = createFreshnessProbe(clients.features);
    const parity = createParityCheck(clients.compute, say);
    const baselines = createBaselineScores(join(flightsDir, 'model', 'baselines.json'));
    const progress: ReplayProgress = {
      published: 0,
      predictions: 0,
      outcomes: 0,
      eventTimeUs: window.fromUs,
      elapsedMs: 1,
    };
    const screen = createScreen(endpoints, process.stdout.isTTY === true && !options.once);
    const figures = async () => {
      const [state, now] = await Promise.all([clients.compute.getStatus({}), quality(clients)]);
      const aucs = baselines.aucs();
      return {
        activity: `replaying ${(progress.published / (progress.elapsedMs / 1000) / 0.27).toFixed(0)} × faster than life`,
        eventTime: new Date(progress.eventTimeUs / 1000).toISOString(),
        eventsPerSecond: progress.published / (progress.elapsedMs / 1000),
        published: publisher.totals.published,
        freshnessMs: { p50: freshness.percentileMs(50), p99: freshness.percentileMs(99) },
        rowsWritten: Number(state.rowsWritten),
        predictions: progress.predictions,
        predictionsPerSecond: progress.predictions / (progress.elapsedMs / 1000),
        auc: now.auc,
        aucRoute: aucs.route,
        aucOriginHour: aucs.originHour,
        parity: { compared: parity.compared, mismatched: parity.mismatched },
        verifier: {
          compared: Number(state.verifier?.compared ?? 0n),
          mismatched: Number(state.verifier?.mismatched ?? 0n),
          lag_ms: Number(state.verifier?.lagUs ?? 0n) / 1000,
        },
      };
    };
    const ticker = every(process.stdout.isTTY && !options.once ? 500 : 5_000, async () => {
      const now = await figures();
      screen.show(now);
      if (!process.stdout.isTTY || options.once) {
        say(
          `${now.eventTime}: ${Math.round(now.eventsPerSecond)} events/s, freshness p99 ${now.freshnessMs.p99.toFixed(0)} ms, ${now.predictions} predictions, AUC ${now.auc.toFixed(3)}, parity ${now.parity.compared} compared, ${now.parity.mismatched} mismatched`,
        );
      }
    });
    try {
      const plan = { ...window, eventsPerSecond: options.rate, paritySample: options.paritySample, lookBackUs: dayUs };
      await replay(plan, { clients, publisher, freshness, parity, baselines, signal }, progress);
      await parity.finish();
      if (!options.once && !signal.aborted) {
        say('the replay has come to its end; the mesh goes on until Ctrl-C');
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      }
    } finally {
      await ticker.stop();
      screen.close();
    }
    if (signal.aborted) return undefined;
    return await summarise(clients, publisher.totals, before, progress, figures, say);
  } finally {
    await publisher.close();
    clients.close();
  }
}

function isSource(definition: definitions.Definition): boolean {
  return sourceKinds.has(definition.spec?.$case ?? '');
}

/** The days to replay: those asked for, or the ones after what an earlier run has replayed. */
async function replayWindow(
  options: StartOptions,
  clients: Clients,
): Promise<{ historyFromUs: number; fromUs: number; toUs: number }> {
  const askedUs = Date.parse(`${options.from}T00:00:00Z`) * 1000;
  const { sources } = await clients.ingestion.getProgress({ source: '' });
  const frontierUs = Number(sources.find(({ source }) => source === 'departures')?.frontierUs ?? 0n);
  const fromUs = frontierUs > askedUs ? frontierUs + 1 : askedUs;
  return { historyFromUs: askedUs - options.historyDays * dayUs, fromUs, toUs: fromUs + options.days * dayUs };
}

async function applyDefinitions(
  clients: Clients,
  set: readonly definitions.Definition[],
  say: (text: string) => void,
): Promise<void> {
  const { changes, revision } = await clients.registry.apply({
    definitions: [...set],
    removals: [],
    allowBreaking: false,
  });
  say(`applied ${changes.length} definitions at registry revision ${revision}`);
}

async function loadPast(
  window: { readonly historyFromUs: number; readonly fromUs: number },
  publisher: ReturnType<typeof createPublisher>,
  clients: Clients,
  say: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { sources } = await clients.ingestion.getProgress({ source: 'departures' });
  if ((sources[0]?.frontierUs ?? 0n) > 0n) return say('history is loaded already');
  const startedMs = performance.now();
  let saidMs = 0;
  await loadHistory(
    { fromUs: window.historyFromUs, toUs: window.fromUs },
    publisher,
    (published, eventTimeUs) => {
      if (performance.now() - saidMs < 1000) return;
      saidMs = performance.now();
      const share = (eventTimeUs - window.historyFromUs) / (window.fromUs - window.historyFromUs);
      say(
        `loading history: ${(share * 100).toFixed(0)} %, ${published} events, ${Math.round(published / ((performance.now() - startedMs) / 1000))}/s`,
      );
    },
    signal,
  );
  say(
    `history is loaded: ${publisher.totals.published} events in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`,
  );
}

async function viewsReady(clients: Clients, say: (text: string) => void, signal: AbortSignal): Promise<void> {
  let said = '';
  await eventually(
    async () => {
      const { views } = await clients.compute.getStatus({});
      const failed = views.find((view) => view.error !== '');
      if (failed)
        throw new MeshError(
          'NOT_READY',
          `feature view "${failed.view}" could not be filled from history: ${failed.error}`,
          { view: failed.view },
        );
      const ready = views.filter((view) => view.state === 2).length;
      const text = `filling windows from history: ${ready} of ${views.length} views are ready`;
      if (text !== said) say(text);
      said = text;
      return views.length >= 5 && ready === views.length;
    },
    { timeoutMs: 300_000, what: 'the feature views to be filled from history', signal },
  );
  await eventually(async () => await modelReady(clients), {
    timeoutMs: 60_000,
    what: 'the model to be loaded',
    signal,
  });
}

async function modelReady(clients: Clients): Promise<boolean> {
  try {
    await clients.predictions.getQuality({ deployment: 'flight_delay' });
    return true;
  } catch {
    return false;
  }
}

async function summarise(
  clients: Clients,
  totals: { readonly published: number; readonly rejected: number },
  before: { readonly events: number; readonly quarantined: number },
  progress: ReplayProgress,
  figures: () => Promise<{
    readonly freshnessMs: { p50: number; p99: number };
    readonly rowsWritten: number;
    readonly auc: number;
    readonly aucRoute: number;
    readonly aucOriginHour: number;
    readonly parity: Summary['parity'];
    readonly verifier: Summary['verifier'];
  }>,
  say: (text: string) => void,
): Promise<Summary> {
  const published = before.events + before.quarantined + totals.published;
  const quarantined = before.quarantined + totals.rejected;
  say('waiting until everything that was acknowledged is in history');
  await eventually(async () => (await historyTotals(clients)).events >= published - quarantined, {
    timeoutMs: 120_000,
    what: 'history to catch up',
  }).catch(() => undefined);
  await eventually(async () => (await quality(clients)).outcomes >= progress.outcomes, {
    timeoutMs: 30_000,
    what: 'outcomes to be joined',
  }).catch(() => undefined);
  const [history, now] = await Promise.all([historyTotals(clients), figures()]);
  return {
    events_published: published,
    events_in_history: history.events,
    events_quarantined: quarantined,
    rows_written: now.rowsWritten,
    freshness_ms: { p50: now.freshnessMs.p50, p99: now.freshnessMs.p99 },
    predictions: progress.predictions,
    outcomes: progress.outcomes,
    auc: now.auc,
    auc_baseline_route: now.aucRoute,
    auc_baseline_origin_hour: now.aucOriginHour,
    parity: now.parity,
    verifier: now.verifier,
    events_per_s: Math.round(progress.published / (progress.elapsedMs / 1000)),
  };
}

/** Calls again and again, one call at a time, until stopped; a failed call is left out. */
function every(periodMs: number, call: () => Promise<void>): { stop(): Promise<void> } {
  let stopped = false;
  let wake: () => void = () => {};
  const loop = (async () => {
    while (!stopped) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, periodMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      if (!stopped) await call().catch(() => undefined);
    }
  })();
  return {
    async stop() {
      stopped = true;
      wake();
      await loop;
    },
  };
}
