import type { JoinKeyDefinition } from '@millrace/features';
import type { History } from '@millrace/history';
import { MeshError } from '@millrace/kernel';
import { createGate, type Gate } from '../gate.ts';
import { sqlName } from '../sql.ts';
import { type FilledStep, nothingFound } from './steps.ts';
import {
  type ChunkBounds,
  eventsBetween,
  joinSql,
  rangesSql,
  type StepPlan,
  samplesTableSql,
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
/** Each runs in one thread, for the sake of the order. */
const statementsAtOnce = 2;

export type FillOptions = {
  /** Labels; those of a lookup have numbers up to this one too. */
  readonly rows: number;
  readonly complete: boolean;
  /** By source. */
  readonly cutoffs: ReadonlyMap<string, number>;
  /** Tables of `fillSamples`, by lookup (−1: none) and source. */
  readonly samples: ReadonlyMap<number, ReadonlyMap<string, string>>;
  readonly withStatuses: boolean;
};

/** By source the labels with the position up to which it was known at each. */
export async function fillSamples(
  history: History,
  options: {
    readonly labels: string;
    readonly joinKeys: readonly JoinKeyDefinition[];
    readonly allowedDelayUs: number;
    readonly complete: boolean;
    readonly cutoffs: ReadonlyMap<string, number>;
  },
  table: (name: string) => string,
): Promise<ReadonlyMap<string, string>> {
  const tables = new Map<string, string>();
  for (const [source, cutoff] of options.cutoffs) {
    const name = table(`samples_${tables.size}`);
    await history.command(samplesTableSql(name, source, { ...options, cutoff }));
    tables.set(source, name);
  }
  return tables;
}

/**
 * Fills tables with the plans' values, some statements side by side; gives the number of the first that is not yet done whenever that changes. A label is in
 * one statement of a plan, and each writes rows in an order of its own, so what is written does not depend on which comes first.
 */
export async function* fillSteps(
  history: History,
  steps: readonly FilledStep[],
  options: FillOptions,
  signal: AbortSignal,
): AsyncGenerator<number> {
  const gate = createGate(statementsAtOnce);
  const values = steps.filter(({ plan }) => plan.t !== 'seen');
  const seen = steps.filter(({ plan }) => plan.t === 'seen');
  const isAlone = values.filter(({ plan }) => plan.byRanges).length === 1;
  for (const round of [values, seen]) {
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    let failure: { readonly cause: unknown } | undefined;
    const filling = round.map(async (step) => {
      // without statuses only labels without a value leave the question open
      const only = step.plan.t === 'seen' && !options.withStatuses ? nothingFound(step.plan, values) : undefined;
      await fillStep(history, step, { ...options, only, isAlone, gate }, either).catch((cause) => {
        failure ??= { cause };
        stop.abort();
      });
    });
    try {
      for (const [at, done] of filling.entries()) {
        yield steps.indexOf(round[at] as FilledStep);
        await done;
      }
    } finally {
      stop.abort();
      await Promise.all(filling);
    }
    if (failure) throw failure.cause;
  }
}

type StepOptions = FillOptions & {
  /** A condition on labels; the others get no row. */
  readonly only: string | undefined;
  /** No other step is computed by ranges meanwhile. */
  readonly isAlone: boolean;
  readonly gate: Gate;
};

/** Values of a step for every label: by ranges, a shard of the entities at a time, then by a join for the labels that are left. */
async function fillStep(
  history: History,
  { plan, target }: { readonly plan: StepPlan; readonly target: string },
  { rows, complete, only, isAlone, gate, ...by }: StepOptions,
  signal: AbortSignal,
): Promise<void> {
  const { source } = plan.view;
  const samples = by.samples.get(plan.lookup)?.get(source) ?? '';
  const step = { plan, target, samples, complete, cutoff: by.cutoffs.get(source) ?? 0, only };
  await history.command(targetSql(step));
  const wanted = only === undefined && plan.lookup < 0 ? rows : await countRows(history, samples, only);
  if (wanted === 0) return;
  const run = (sql: string) =>
    gate(async () => {
      stopIf(signal);
      await history.command(sql);
    });
  if (plan.byRanges) {
    const bounds = await chunkBounds(history, samples, 0, rows);
    const events = await countRows(history, eventsBetween(plan.view, { ...step, bounds }));
    const size = Math.max(events / eventsPerShard, wanted / labelsPerShard);
    // a second look at the events is worth it where a statement less would run
    const shards = isAlone && size >= 0.1 ? Math.ceil(size / statementsAtOnce) * statementsAtOnce : Math.ceil(size);
    await Promise.all(
      Array.from({ length: Math.max(1, shards) }, (_, at) =>
        run(rangesSql({ ...step, bounds }, { at, of: Math.max(1, shards) })),
      ),
    );
    if ((await countRows(history, target)) === wanted) return;
  }
  for (let from = 0; from < rows; from += labelsPerJoin) {
    stopIf(signal);
    const bounds = await chunkBounds(history, samples, from, from + labelsPerJoin);
    await run(joinSql({ ...step, bounds }));
  }
}

export function stopIf(signal: AbortSignal): void {
  if (signal.aborted) throw new MeshError('CANCELLED', 'the training set was cancelled', {});
}

/** Of a table, or of a query in parentheses. */
async function countRows(history: History, from: string, where = '1'): Promise<number> {
  const table = from.startsWith('(') ? from : sqlName(from);
  const [row] = await history.query<{ rows: string | number }>(`SELECT count() AS rows FROM ${table} WHERE ${where}`);
  return Number(row?.rows ?? 0);
}

async function chunkBounds(history: History, samples: string, from: number, to: number): Promise<ChunkBounds> {
  const [row] = await history.query<{ first: string; last: string }>(
    `SELECT toString(toUnixTimestamp64Micro(min(as_of))) AS first, toString(toUnixTimestamp64Micro(max(as_of))) AS last
     FROM ${sqlName(samples)} WHERE sample_id > ${from} AND sample_id <= ${to}`,
  );
  return { from, to, firstUs: Number(row?.first ?? 0), lastUs: Number(row?.last ?? 0) };
}
