import { type MeshError, toMeshError } from '@millrace/kernel';
import type { Plan } from '../domain/plan.ts';
import type { ReadFeatures } from './read-features.ts';

/** How often a consumer read a feature. */
export type FeatureUse = {
  readonly view: string;
  readonly feature: string;
  readonly featureService: string;
  readonly consumer: string;
  readonly requests: number;
  readonly rows: number;
  readonly lastReadMs: number;
};

/** Keeps what was counted. */
export interface UsageBook {
  add(uses: readonly FeatureUse[]): Promise<void>;
  /** Sums since a time, the most read first. */
  since(fromMs: number): Promise<readonly FeatureUse[]>;
}

export type UsageReport = {
  readonly sinceMs: number;
  readonly used: readonly FeatureUse[];
  /** Features of current views that nobody read. */
  readonly unused: readonly { readonly view: string; readonly feature: string }[];
};

export type Usage = {
  /** The same use case, with who read what counted. */
  counted(readFeatures: ReadFeatures): ReadFeatures;
  /** Hands on what was counted; what could not be kept is handed on next time. */
  flush(): Promise<void>;
  /** Who read what in the last days, with what was counted and not yet handed on. */
  report(days: number): Promise<UsageReport>;
};

type Tally = { requests: number; rows: number; lastReadMs: number };

/** Consumers of one plan that are told apart between two flushes: names are the callers' word and must not fill memory. */
const consumersMax = 200;
const otherConsumers = 'others';

export function createUsage(deps: {
  readonly book: UsageBook;
  readonly features: () => readonly { readonly view: string; readonly feature: string }[];
  readonly nowMs: () => number;
  readonly onProblem: (problem: MeshError) => void;
}): Usage {
  const { book, nowMs } = deps;
  let tallies = new Map<Plan, Map<string, Tally>>();
  let flushing: Promise<void> | undefined;

  function tallyOf(plan: Plan, caller: string): Tally {
    let byConsumer = tallies.get(plan);
    if (!byConsumer) {
      byConsumer = new Map();
      tallies.set(plan, byConsumer);
    }
    const consumer = byConsumer.has(caller) || byConsumer.size < consumersMax ? caller : otherConsumers;
    let tally = byConsumer.get(consumer);
    if (!tally) {
      tally = { requests: 0, rows: 0, lastReadMs: 0 };
      byConsumer.set(consumer, tally);
    }
    return tally;
  }

  async function handOn(): Promise<void> {
    if (tallies.size === 0) return;
    const taken = tallies;
    tallies = new Map();
    try {
      await book.add(usesOf(taken));
    } catch (thrown) {
      for (const [plan, byConsumer] of taken) {
        for (const [consumer, { requests, rows, lastReadMs }] of byConsumer) {
          const tally = tallyOf(plan, consumer);
          tally.requests += requests;
          tally.rows += rows;
          tally.lastReadMs = Math.max(tally.lastReadMs, lastReadMs);
        }
      }
      deps.onProblem(toMeshError(thrown, 'could not keep usage'));
    }
  }

  async function flush(): Promise<void> {
    flushing ??= handOn().finally(() => {
      flushing = undefined;
    });
    await flushing;
  }

  return {
    flush,
    counted: (readFeatures) => async (request, call) => {
      const matrix = await readFeatures(request, call);
      const tally = tallyOf(matrix.plan, call.caller);
      tally.requests++;
      tally.rows += matrix.rows;
      tally.lastReadMs = nowMs();
      return matrix;
    },
    async report(days) {
      const sinceMs = nowMs() - days * 86_400_000;
      await flush();
      const used = await book.since(sinceMs);
      const read = new Set(used.map(({ view, feature }) => `${view} ${feature}`));
      return { sinceMs, used, unused: deps.features().filter(({ view, feature }) => !read.has(`${view} ${feature}`)) };
    },
  };
}

/** A read of a feature service is a read of each of its features, of those that are only derived from too. */
function usesOf(tallies: ReadonlyMap<Plan, ReadonlyMap<string, Tally>>): FeatureUse[] {
  const uses: FeatureUse[] = [];
  for (const [plan, byConsumer] of tallies) {
    const features = new Map(
      (plan.derivation?.reads ?? plan).features.map(({ view, featureIndex }) => {
        const definition = plan.views[view]?.definition;
        const feature = definition?.features[featureIndex]?.name ?? '';
        return [`${definition?.name} ${feature}`, { view: definition?.name ?? '', feature }];
      }),
    );
    for (const [consumer, tally] of byConsumer)
      for (const feature of features.values()) uses.push({ ...feature, featureService: plan.name, consumer, ...tally });
  }
  return uses;
}
