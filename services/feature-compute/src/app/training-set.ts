import { createHash } from 'node:crypto';
import type { definitions } from '@millrace/contracts';
import type { ViewDefinition } from '@millrace/features';
import type { History } from '@millrace/history';
import { MeshError, newId } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { sqlName } from './sql.ts';
import { exportSql, fillStepSql, labelsSql, positionsSql, type StepPlan } from './training-sql.ts';

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
const labelsPerStatement = 20_000;
const parquetPartBytesMax = 1 << 20;
const exportSettings = { output_format_parquet_string_as_string: 1 } as const;

/**
 * Joins labels with features point-in-time, with the same SQL that parity is proven with: labels are put in a table in a
 * stated order, each view's features are computed beside them in steps, and the join is streamed as Parquet.
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
      const chunks = Math.max(1, Math.ceil(rows / labelsPerStatement));
      const stepsTotal = plans.length * chunks;
      yield progress(0, stepsTotal, `${rows} labels`);
      for (const [index, plan] of plans.entries()) {
        const target = `${prefix}_${index}`;
        const positions = `${target}_positions`;
        created.push(target, positions);
        await history.command(positionsSql(positions, plan.view.source, options));
        for (let chunk = 0; chunk < chunks; chunk++) {
          if (signal.aborted) throw new MeshError('CANCELLED', 'the training set was cancelled', {});
          const bounds = await chunkBounds(labels, chunk);
          for (const sql of fillStepSql({ plan, labels, target, positions, bounds, first: chunk === 0, ...options })) {
            await history.command(sql);
          }
          yield progress(index * chunks + chunk + 1, stepsTotal, `view "${plan.view.name}"`);
        }
      }
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
    return [...plans].map(([id, { view, features }]) => ({
      id,
      view: { ...view, features: view.features.filter((feature) => features.has(feature.name)) },
    }));
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

  async function chunkBounds(labels: string, chunk: number) {
    const [from, to] = [chunk * labelsPerStatement, (chunk + 1) * labelsPerStatement];
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
