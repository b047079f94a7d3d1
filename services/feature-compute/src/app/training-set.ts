import { createHash } from 'node:crypto';
import type { definitions } from '@millrace/contracts';
import { isRangeable, type ViewDefinition } from '@millrace/features';
import type { History } from '@millrace/history';
import { MeshError, newId } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { sqlName } from './sql.ts';
import {
  type ChunkBounds,
  eventsBetween,
  exportSql,
  joinSql,
  labelsSql,
  positionsSql,
  rangesSql,
  type StepPlan,
  targetSql,
} from './training-sql.ts';

export type TrainingSetOptions = {
  readonly featureService: string;
  readonly labelQuery: string;
  readonly allowedDelayUs: number;
  readonly complete: boolean;
};

export type TrainingSetPart =
  | { readonly t: 'progress'; readonly progress: { stepsDone: number; stepsTotal: number; activity: string } }
  | { readonly t: 'parquet'; readonly bytes: Buffer }
  | {
      readonly t: 'record';
      readonly record: {
        digest: string;
        rows: number;
        featureServiceVersion: string;
        labelQuery: string;
        complete: boolean;
      };
    };

export type BuildTrainingSet = (options: TrainingSetOptions, signal: AbortSignal) => AsyncIterable<TrainingSetPart>;

export type ServiceToTrain = { readonly version: string; readonly features: readonly definitions.FeatureReference[] };

/** Labels are joined in time order, this many at once: bounds the events that one statement has to look at. */
const labelsPerJoin = 20_000;
/**
 * One statement over ranges holds about so many events, and about so many labels, of as many entities as that is: at 100 to 200 bytes for an event of a
 * few columns, below a gigabyte.
 */
const eventsPerShard = 4_000_000;
const labelsPerShard = 200_000;
const parquetPartBytesMax = 1 << 20;
const exportSettings = { output_format_parquet_string_as_string: 1 } as const;

/**
 * Joins labels with features point-in-time: labels are put in a table in a stated order, each view's features are computed beside them, by ranges of
 * each entity's events (`rangeSql`) and where those do not answer by the SQL that parity is proven with (`asOfSql`); the result is streamed as Parquet.
 */
export function createBuildTrainingSet(deps: {
  readonly history: History;
  /** Throws UNKNOWN_FEATURE_SERVICE. */
  readonly service: (name: string) => Promise<ServiceToTrain>;
  readonly view: (name: string, version: string) => Promise<ViewDefinition>;
  readonly telemetry: Telemetry;
}): BuildTrainingSet {
  const { history } = deps;

  return async function* build(options, signal) {
    const service = await deps.service(options.featureService);
    const plans = await planSteps(service);
    const prefix = `training_${newId().replaceAll('-', '')}`;
    const created: string[] = [];
    try {
      const columns = await labelColumns(options.labelQuery, plans);
      const labels = `${prefix}_labels`;
      created.push(labels);
      await history.command(labelsSql(labels, options.labelQuery, columns));
      const rows = await countRows(labels);
      for (const [index, plan] of plans.entries()) {
        const target = `${prefix}_${index}`;
        created.push(target, `${target}_positions`);
        yield progress(index, plans.length, `view "${plan.view.name}", ${rows} labels`);
        await fill(plan, { labels, rows, target, ...options }, signal);
      }
      yield progress(plans.length, plans.length, 'export');
      const sql = exportSql(
        labels,
        columns,
        plans.map((plan, index) => ({ plan, target: `${prefix}_${index}` })),
        service,
      );
      yield* stream(sql, signal);
      yield {
        t: 'record',
        record: {
          digest: await digestOf(sql, signal),
          rows,
          featureServiceVersion: service.version,
          labelQuery: options.labelQuery,
          complete: options.complete,
        },
      };
    } finally {
      for (const table of created)
        await history.command(`DROP TABLE IF EXISTS ${sqlName(table)}`).catch(() => undefined);
    }
  };

  async function planSteps(service: ServiceToTrain): Promise<readonly StepPlan[]> {
    const plans = new Map<string, { view: ViewDefinition; features: Set<string> }>();
    for (const reference of service.features) {
      const view = await deps.view(reference.view, reference.viewVersion);
      const id = `${view.name}@${view.version}`;
      const plan = plans.get(id) ?? { view, features: new Set<string>() };
      plan.features.add(reference.feature);
      plans.set(id, plan);
    }
    return [...plans.values()].flatMap(({ view, features }) =>
      [true, false].flatMap((byRanges) => {
        const asked = view.features.filter(({ name }) => features.has(name) && isRangeable(view, name) === byRanges);
        return asked.length === 0 ? [] : [{ byRanges, view: { ...view, features: asked } }];
      }),
    );
  }

  /** Values of a step for every label: by ranges, a shard of the entities at a time, then by a join for the labels that are left. */
  async function fill(
    plan: StepPlan,
    given: { labels: string; rows: number; target: string; allowedDelayUs: number; complete: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const { labels, rows, target } = given;
    const step = { ...given, plan, positions: `${target}_positions` };
    await history.command(positionsSql(step.positions, plan.view.source, given));
    await history.command(targetSql(step));
    if (rows === 0) return;
    if (plan.byRanges) {
      const bounds = await chunkBounds(labels, 0, rows);
      const shards = await shardCount(plan.view, bounds, rows);
      for (let at = 0; at < shards; at++) {
        stopIf(signal);
        await history.command(rangesSql({ ...step, bounds }, { at, of: shards }));
      }
      if ((await countRows(target)) === rows) return;
    }
    for (let from = 0; from < rows; from += labelsPerJoin) {
      stopIf(signal);
      await history.command(joinSql({ ...step, bounds: await chunkBounds(labels, from, from + labelsPerJoin) }));
    }
  }

  async function shardCount(view: ViewDefinition, bounds: ChunkBounds, rows: number): Promise<number> {
    const [found] = await history.query<{ events: string }>(
      `SELECT count() AS events FROM ${eventsBetween(view, bounds)}`,
    );
    return Math.max(1, Math.ceil(Math.max(Number(found?.events ?? 0) / eventsPerShard, rows / labelsPerShard)));
  }

  async function labelColumns(labelQuery: string, plans: readonly StepPlan[]): Promise<readonly string[]> {
    const described = await history.query<{ name: string }>(`DESCRIBE TABLE (${labelQuery})`);
    const columns = described.map((column) => column.name);
    const needed = new Set(['label_time', ...plans.flatMap((plan) => plan.view.joinKeys.map((key) => key.name))]);
    const missing = [...needed].filter((name) => !columns.includes(name));
    if (missing.length > 0) {
      throw new MeshError(
        'INVALID_ARGUMENT',
        `the label query has no column ${missing.map((name) => `"${name}"`).join(', ')}; it must give label_time and every join key`,
        { missing: missing.join(',') },
      );
    }
    return columns;
  }

  async function countRows(table: string): Promise<number> {
    const [row] = await history.query<{ rows: string | number }>(`SELECT count() AS rows FROM ${sqlName(table)}`);
    return Number(row?.rows ?? 0);
  }

  async function chunkBounds(labels: string, from: number, to: number): Promise<ChunkBounds> {
    const [row] = await history.query<{ first: string; last: string }>(
      `SELECT toString(toUnixTimestamp64Micro(min(label_time))) AS first, toString(toUnixTimestamp64Micro(max(label_time))) AS last
       FROM ${sqlName(labels)} WHERE sample_id > ${from} AND sample_id <= ${to}`,
    );
    return { from, to, firstUs: Number(row?.first ?? 0), lastUs: Number(row?.last ?? 0) };
  }

  async function* stream(sql: string, signal: AbortSignal): AsyncIterable<TrainingSetPart> {
    const answer = await history.client.exec({
      query: `${sql} FORMAT Parquet`,
      abort_signal: signal,
      clickhouse_settings: exportSettings,
    });
    for await (const bytes of answer.stream as AsyncIterable<Buffer>) {
      for (let at = 0; at < bytes.length; at += parquetPartBytesMax) {
        yield { t: 'parquet', bytes: bytes.subarray(at, at + parquetPartBytesMax) };
      }
    }
  }

  /** Over the rows, not the file: Parquet's bytes may change with the server's version, the values may not. */
  async function digestOf(sql: string, signal: AbortSignal): Promise<string> {
    const hash = createHash('sha256');
    const answer = await history.client.exec({
      query: `${sql} FORMAT RowBinaryWithNamesAndTypes`,
      abort_signal: signal,
    });
    for await (const bytes of answer.stream as AsyncIterable<Buffer>) hash.update(bytes);
    return hash.digest('hex');
  }
}

function progress(stepsDone: number, stepsTotal: number, activity: string): TrainingSetPart {
  return { t: 'progress', progress: { stepsDone, stepsTotal, activity } };
}

function stopIf(signal: AbortSignal): void {
  if (signal.aborted) throw new MeshError('CANCELLED', 'the training set was cancelled', {});
}
