import type { definitions } from '@millrace/contracts';
import { type FeatureDefinition, isRangeable, type ViewDefinition, valueOfNothing } from '@millrace/features';
import type { History } from '@millrace/history';
import { MeshError } from '@millrace/kernel';
import { sqlName } from '../sql.ts';
import {
  type ChunkBounds,
  eventsBetween,
  joinSql,
  positionsSql,
  rangesSql,
  type StepPlan,
  targetSql,
} from './steps-sql.ts';

/** Labels are joined in time order, this many at once: bounds the events that one statement has to look at. */
const labelsPerJoin = 20_000;
/**
 * A statement over ranges holds about so many events, and about so many labels, of as many entities as that is; at 100 to 200 bytes for an event of a few
 * columns, below a gigabyte. Two run side by side.
 */
const eventsPerShard = 5_000_000;
const labelsPerShard = 200_000;
const shardsAtOnce = 2;

const ofRow = { field: '', window: { t: 'lifetime' }, filter: '', ddof: 1 } as const;
/** How many events an entity had: 0 where it would have had no row. */
export const rowEvents: FeatureDefinition = { ...ofRow, name: 'millrace_row_events', function: 'count' };
/** How old its row would have been, in seconds; null where it would have had none. */
export const rowAge: FeatureDefinition = { ...ofRow, name: 'millrace_row_age', function: 'age' };

export type FillOptions = {
  readonly labels: string;
  readonly rows: number;
  readonly allowedDelayUs: number;
  readonly complete: boolean;
  /** By source. */
  readonly cutoffs: ReadonlyMap<string, number>;
  /** Tables of `fillPositions`, by source. */
  readonly positions: ReadonlyMap<string, string>;
  /** A condition on labels; the others get no row. */
  readonly only?: string;
};

/** A step whose values are in a table. */
export type FilledStep = { readonly plan: StepPlan; readonly target: string };

/**
 * What is computed together: of each view the features that ranges can say, then those that only a join says, then, where something goes by it,
 * whether there was a row, or its age.
 */
export function planSteps(
  views: readonly ViewDefinition[],
  features: readonly definitions.FeatureReference[],
  options: { readonly withStatuses: boolean },
): readonly StepPlan[] {
  return views.flatMap((view) => {
    const references = features.filter((each) => each.view === view.name && each.viewVersion === view.version);
    const wanted = new Set(references.map(({ feature }) => feature));
    const asked = view.features.filter(({ name }) => wanted.has(name));
    const plans = [true, false].flatMap((byRanges): StepPlan[] => {
      const together = asked.filter(({ name }) => isRangeable(view, name) === byRanges);
      return together.length === 0 ? [] : [{ t: 'values', byRanges, view: { ...view, features: together } }];
    });
    // a window without end reads all of history, so it has a step of its own
    if (references.some(hasMaxAge))
      return [...plans, { t: 'age', byRanges: false, view: { ...view, features: [rowAge] } }];
    if (!options.withStatuses && !asked.some((feature) => valueOfNothing(feature) === 0)) return plans;
    return [...plans, { t: 'seen', byRanges: true, view: { ...view, features: [rowEvents] } }];
  });
}

function hasMaxAge({ maxAgeUs }: definitions.FeatureReference): boolean {
  return maxAgeUs > 0n;
}

/** The labels for which a view's steps found nothing: only of those it is asked whether the entity had a row. */
export function nothingFound(view: ViewDefinition, filled: readonly FilledStep[]): string {
  const conditions = filled
    .filter(({ plan }) => plan.t === 'values' && plan.view.name === view.name && plan.view.version === view.version)
    .map(({ plan, target }) => {
      const empty = plan.view.features.flatMap((feature) => {
        const nothing = valueOfNothing(feature);
        if (Array.isArray(nothing)) return [];
        return nothing === null ? [`isNull(${sqlName(feature.name)})`] : [`${sqlName(feature.name)} = 0`];
      });
      return `sample_id IN (SELECT sample_id FROM ${sqlName(target)} WHERE ${['1', ...empty].join(' AND ')})`;
    });
  return conditions.join(' AND ');
}

/** A table for each source that tells up to which position it was known at an instant; by source. */
export async function fillPositions(
  history: History,
  cutoffs: ReadonlyMap<string, number>,
  { complete }: { readonly complete: boolean },
  table: (name: string) => string,
): Promise<ReadonlyMap<string, string>> {
  const tables = new Map<string, string>();
  for (const [source, cutoff] of cutoffs) {
    const name = table(`positions_${tables.size}`);
    await history.command(positionsSql(name, source, { complete, cutoff }));
    tables.set(source, name);
  }
  return tables;
}

/** Values of a step for every label: by ranges, a shard of the entities at a time, then by a join for the labels that are left. */
export async function fillStep(
  history: History,
  plan: StepPlan,
  target: string,
  options: FillOptions,
  signal: AbortSignal,
): Promise<void> {
  const { labels, rows } = options;
  const cutoff = options.cutoffs.get(plan.view.source) ?? 0;
  const step = { ...options, plan, target, positions: options.positions.get(plan.view.source) ?? '', cutoff };
  await history.command(targetSql(step));
  if (plan.byRanges) {
    const bounds = await chunkBounds(history, labels, 0, rows);
    const [found] = await history.query<{ events: string }>(
      `SELECT count() AS events FROM ${eventsBetween(plan.view, { bounds, cutoff })}`,
    );
    const wanted = Math.max(Number(found?.events ?? 0) / eventsPerShard, rows / labelsPerShard);
    // as many as run at once, where that is worth a second look at the events
    const shards = wanted < 0.1 ? 1 : Math.ceil(wanted / shardsAtOnce) * shardsAtOnce;
    let next = 0;
    const fillShards = async () => {
      while (next < shards) {
        stopIf(signal);
        await history.command(rangesSql({ ...step, bounds }, { at: next++, of: shards }));
      }
    };
    // each in one thread, for the sake of the order; an entity is in one shard, so what is written does not depend on which comes first
    await Promise.all(Array.from({ length: shardsAtOnce }, fillShards));
    if (options.only === undefined && (await countRows(history, target)) === rows) return;
  }
  for (let from = 0; from < rows; from += labelsPerJoin) {
    stopIf(signal);
    const bounds = await chunkBounds(history, labels, from, from + labelsPerJoin);
    await history.command(joinSql({ ...step, bounds }));
  }
}

export function stopIf(signal: AbortSignal): void {
  if (signal.aborted) throw new MeshError('CANCELLED', 'the training set was cancelled', {});
}

async function countRows(history: History, table: string): Promise<number> {
  const [row] = await history.query<{ rows: string | number }>(`SELECT count() AS rows FROM ${sqlName(table)}`);
  return Number(row?.rows ?? 0);
}

async function chunkBounds(history: History, labels: string, from: number, to: number): Promise<ChunkBounds> {
  const [row] = await history.query<{ first: string; last: string }>(
    `SELECT toString(toUnixTimestamp64Micro(min(label_time))) AS first, toString(toUnixTimestamp64Micro(max(label_time))) AS last
     FROM ${sqlName(labels)} WHERE sample_id > ${from} AND sample_id <= ${to}`,
  );
  return { from, to, firstUs: Number(row?.first ?? 0), lastUs: Number(row?.last ?? 0) };
}
