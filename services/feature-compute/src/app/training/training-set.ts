import { type compute, type definitions, trainingSets } from '@millrace/contracts';
import type { JoinKeyDefinition, ViewDefinition } from '@millrace/features';
import { eventTable, type History, maxSeq } from '@millrace/history';
import { type Clock, MeshError, newId } from '@millrace/kernel';
import { referenceName, resolveService, type ServiceShape } from '@millrace/registry';
import { type CheckTable, type FailedExpectation, refuseBlocked } from '../expectations/table-checks.ts';
import { sqlName } from '../sql.ts';
import { checkRequestFields } from './derived-sql.ts';
import { stopIf } from './fill-steps.ts';
import { labelTable } from './label-store.ts';
import { digestOf, type Labels, prepareLabels } from './labels.ts';
import { findLeakage } from './leakage.ts';
import { fillLevels, viewsOf as viewsOfLookup } from './lookups.ts';
import { checkRowCount, columnOf, insertSplit, insertTaken, takenSql } from './rows-sql.ts';
import { sampleRows } from './sampling.ts';
import { exportSql, type SetParts, setSql } from './set-sql.ts';
import { checkSplit, splitRows } from './splitting.ts';
import { planSteps } from './steps.ts';

export type TrainingSetPart =
  | { readonly t: 'progress'; readonly progress: compute.TrainingSetProgress }
  | { readonly t: 'bytes'; readonly bytes: Buffer }
  | { readonly t: 'record'; readonly record: compute.TrainingSetRecord };

export type BuildTrainingSet = (
  request: compute.BuildTrainingSetRequest,
  signal: AbortSignal,
) => AsyncIterable<TrainingSetPart>;

export type ServiceToTrain = { readonly version: string; readonly spec: definitions.FeatureService };

/** Records of training sets, kept for good. */
export interface TrainingSetBook {
  add(record: compute.TrainingSetRecord): Promise<void>;
  /** Newest first. */
  list(featureService: string, limit: number): Promise<compute.TrainingSetRecord[]>;
  /** Undefined when there is none of that id. */
  get(id: string): Promise<compute.TrainingSetRecord | undefined>;
}

export type TrainingSetDeps = {
  readonly history: History;
  /** Throws UNKNOWN_FEATURE_SERVICE. */
  readonly service: (name: string) => Promise<ServiceToTrain>;
  readonly view: (name: string, version: string) => Promise<ViewDefinition>;
  readonly book: TrainingSetBook;
  readonly check: CheckTable;
  readonly clock: Clock;
};

const partBytesMax = 1 << 20;
const { ARROW_STREAM, ARROW_FILE } = trainingSets.TrainingSetFormat;

/** What a request asks for, or the record of the set that it is like. */
type Order = {
  readonly request: compute.BuildTrainingSetRequest;
  readonly service: ServiceToTrain;
  /** By view and version; undefined: what history holds now. */
  readonly positions: ReadonlyMap<string, number> | undefined;
};

/**
 * Joins labels with features point-in-time: labels are put in a table in a stated order, sampled and split; each view's features are computed beside
 * them, by ranges of each entity's events (`rangeSql`) and where those do not answer by the SQL that parity is proven with (`asOfSql`); the set is
 * searched for leakage, streamed as a file and recorded.
 */
export function createBuildTrainingSet(deps: TrainingSetDeps): BuildTrainingSet {
  const { history } = deps;

  return async function* build(given, signal) {
    const order = await orderOf(given);
    const { request, service } = order;
    if (request.split) checkSplit(request.split);
    if (request.allowLeakage && request.leakageReason === '')
      throw new MeshError('INVALID_ARGUMENT', 'allow_leakage needs a leakage_reason, which the record keeps', {});
    const views = await viewsOf(service.spec.features);
    const features = service.spec.features.map((reference) => pinned(reference, views));
    const shape = shapeOf(request.featureService, { ...service.spec, features }, views);
    const prefix = `training_${newId().replaceAll('-', '')}`;
    const created: string[] = [];
    const table = (name: string) => {
      created.push(`${prefix}_${name}`);
      return `${prefix}_${name}`;
    };
    try {
      const direct = viewsOfLookup(-1, shape, views);
      const joinKeys = [...new Map(direct.flatMap((view) => view.joinKeys).map((key) => [key.name, key])).values()];
      const query = await labelQueryOf(request);
      const all = await prepareLabels(history, { table: table('labels'), query, joinKeys });
      checkRequestFields(shape, all.columns);
      const labels = await sampled(request, all, table);
      const split = await divided(request, labels, table);
      const steps = planSteps(views, shape, request).map((plan, at) => ({ plan, target: table(String(at)) }));
      const keys = shape.lookups.map((_, at) => table(`keys_${at}`));
      const cutoffs = await cutoffsOf(views, order.positions);
      const { complete, withStatuses } = request;
      const parts: SetParts = { labels, steps, shape, keys, withStatuses, split };
      const allowedDelayUs = Number(request.allowedDelayUs);
      const filling = { complete, cutoffs, withStatuses, allowedDelayUs, rows: labels.rows };
      for await (const step of fillLevels(history, parts, views, filling, table, signal))
        yield progress(steps.indexOf(step), steps.length, `view "${step.plan.view.name}", ${labels.rows} labels`);
      yield progress(steps.length, steps.length, 'checks and export');
      const set = table('set');
      await history.command(setSql(set, parts));
      stopIf(signal);
      const findings = await lint(set, labels, joinKeys, parts, request);
      const sql = exportSql(set);
      const failed = await expected(set, views, features, joinKeys, request, signal);
      const record: compute.TrainingSetRecord = {
        ...recordOf(request, service, all),
        id: newId(),
        createdUs: BigInt(Math.round(deps.clock.nowUs())),
        digest: await digestOf(history, sql, signal),
        rows: BigInt(labels.rows),
        findings,
        failedExpectations: failed.map(({ rows, ...each }) => ({ ...each, rows: BigInt(rows) })),
        views: views.map((view) => ({
          view: view.name,
          version: view.version,
          position: BigInt(cutoffs.get(view.source) ?? 0),
        })),
        counts: await countsOf(set, parts),
        features,
        derived: [...service.spec.derived],
        requestFields: [...service.spec.requestFields],
      };
      yield* stream(sql, request.format, signal);
      await deps.book.add(record);
      yield { t: 'record', record };
    } finally {
      for (const name of created) await history.command(`DROP TABLE IF EXISTS ${sqlName(name)}`).catch(() => undefined);
    }
  };

  async function orderOf(request: compute.BuildTrainingSetRequest): Promise<Order> {
    if (request.likeId === '')
      return { request, service: await deps.service(request.featureService), positions: undefined };
    const record = await deps.book.get(request.likeId);
    if (record === undefined) throw unknownTrainingSet(request.likeId);
    return {
      request: {
        ...record,
        likeId: request.likeId,
        format: request.format,
        allowLeakage: record.leakageReason !== '',
        // it is to be what it was; what is expected may be other than then
        allowFailedExpectations: true,
      },
      service: {
        version: record.featureServiceVersion,
        spec: { features: record.features, derived: record.derived, requestFields: record.requestFields },
      },
      positions: new Map(record.views.map(({ view, version, position }) => [`${view}@${version}`, Number(position)])),
    };
  }

  async function viewsOf(references: readonly definitions.FeatureReference[]): Promise<readonly ViewDefinition[]> {
    const views = new Map<string, ViewDefinition>();
    for (const { view, viewVersion } of references) {
      const found = await deps.view(view, viewVersion);
      views.set(`${found.name}@${found.version}`, found);
    }
    return [...views.values()];
  }

  async function labelQueryOf({ labelQuery, labelsId }: compute.BuildTrainingSetRequest): Promise<string> {
    if ((labelQuery === '') === (labelsId === ''))
      throw new MeshError(
        'INVALID_ARGUMENT',
        'a training set needs labels: give label_query, or labels_id of UploadLabels, one of them',
        {},
      );
    return labelsId === ''
      ? labelQuery
      : `SELECT * EXCEPT (millrace_row) FROM ${sqlName(await labelTable(history, labelsId))}`;
  }

  async function sampled(
    { sampling, seed }: compute.BuildTrainingSetRequest,
    labels: Labels,
    table: (name: string) => string,
  ): Promise<Labels> {
    if (sampling === undefined || sampling.kind === trainingSets.SamplingKind.UNSPECIFIED) return labels;
    const into = table('taken_labels');
    if (sampling.kind === trainingSets.SamplingKind.TIME) {
      const at = (us: bigint) => `fromUnixTimestamp64Micro(toInt64(${us}), 'UTC')`;
      const until = sampling.untilUs > 0n ? ` AND label_time < ${at(sampling.untilUs)}` : '';
      await history.command(takenSql(into, labels, `label_time >= ${at(sampling.fromUs)}${until}`));
      const [row] = await history.query<{ rows: string }>(`SELECT count() AS rows FROM ${sqlName(into)}`);
      const rows = Number(row?.rows ?? 0);
      if (rows === 0)
        throw new MeshError('INVALID_ARGUMENT', `none of ${labels.rows} labels lies in the span of time`, {});
      return { ...labels, table: into, rows };
    }
    checkRowCount(labels.rows);
    const classes = sampling.column === '' ? undefined : await columnOf(history, labels, sampling.column);
    const taken = sampleRows(sampling, labels.rows, seed, classes);
    const ids = table('taken');
    await insertTaken(history, ids, taken);
    await history.command(takenSql(into, labels, `l.sample_id IN (SELECT sample_id FROM ${sqlName(ids)})`));
    return { ...labels, table: into, rows: taken.length };
  }

  async function divided(
    { split, seed }: compute.BuildTrainingSetRequest,
    labels: Labels,
    table: (name: string) => string,
  ): Promise<SetParts['split']> {
    if (split === undefined || split.kind === trainingSets.SplitKind.UNSPECIFIED) return undefined;
    checkRowCount(labels.rows);
    const columns = {
      ...(split.stratifyBy === '' ? {} : { classes: await columnOf(history, labels, split.stratifyBy) }),
      ...(split.groupBy === '' ? {} : { groups: await columnOf(history, labels, split.groupBy) }),
    };
    const into = table('split');
    return {
      table: into,
      columns: await insertSplit(history, into, splitRows(split, labels.rows, seed, columns), labels.rows),
    };
  }

  /** The last position of each view's source; of a set that is built again, as it was. */
  async function cutoffsOf(views: readonly ViewDefinition[], positions: Order['positions']) {
    const cutoffs = new Map<string, number>();
    for (const view of views)
      cutoffs.set(
        view.source,
        positions?.get(`${view.name}@${view.version}`) ??
          cutoffs.get(view.source) ??
          (await maxSeq(history, eventTable(view.source))),
      );
    return cutoffs;
  }

  async function lint(
    table: string,
    labels: Labels,
    joinKeys: readonly JoinKeyDefinition[],
    { shape, split }: SetParts,
    request: compute.BuildTrainingSetRequest,
  ) {
    const findings = await findLeakage(history, {
      table,
      rows: labels.rows,
      keys: joinKeys.map(({ name }) => name),
      features: shape.outputs.map(({ name }) => name),
      split: request.split,
      splitColumns: split?.columns ?? [],
      target: request.target,
    });
    if (findings.length > 0 && !request.allowLeakage)
      throw new MeshError(
        'LEAKAGE_FOUND',
        `the training set leaks: ${findings.map(({ message, remedy }) => `${message}; ${remedy}`).join('. ')}. To build it all the same set allow_leakage and say why in leakage_reason`,
        Object.fromEntries(
          findings
            .slice(0, 10)
            .map(({ kind, columns, rows }, at) => [`finding_${at}`, `${kind}: ${columns.join(',')}: ${rows} rows`]),
        ),
      );
    return findings;
  }

  /** What is expected of the features of each view, of the columns that the set has of it. */
  async function expected(
    set: string,
    views: readonly ViewDefinition[],
    features: readonly definitions.FeatureReference[],
    joinKeys: readonly JoinKeyDefinition[],
    request: compute.BuildTrainingSetRequest,
    signal: AbortSignal,
  ): Promise<FailedExpectation[]> {
    const failed: FailedExpectation[] = [];
    const keys = [...joinKeys.map(({ name }) => name), 'label_time'];
    for (const view of views) {
      const own = features.filter(
        (each) => each.view === view.name && each.viewVersion === view.version && !each.hidden,
      );
      const columns = new Map(own.map((reference) => [reference.feature, referenceName(reference)]));
      failed.push(...(await deps.check(view, sqlName(set), columns, keys, signal)));
    }
    if (!request.allowFailedExpectations)
      refuseBlocked(
        failed,
        'the training set',
        'To build it all the same set allow_failed_expectations (--allow-failed-expectations)',
      );
    return failed;
  }

  async function countsOf(table: string, { shape, withStatuses }: SetParts): Promise<trainingSets.FeatureCount[]> {
    const names = shape.outputs.map(({ name }) => name);
    const missing = (name: string) => (withStatuses ? `countIf(${sqlName(`${name}__status`)} = 'NOT_FOUND')` : '0');
    const columns = names.map((name, at) => `count(${sqlName(name)}) AS p${at}, ${missing(name)} AS m${at}`);
    const [row] = await history.query<Record<string, string>>(
      `SELECT count() AS rows, ${columns.join(', ')} FROM ${sqlName(table)}`,
    );
    return names.map((column, at) => {
      const present = BigInt(row?.[`p${at}`] ?? 0);
      return { column, present, nullRows: BigInt(row?.rows ?? 0) - present, notFound: BigInt(row?.[`m${at}`] ?? 0) };
    });
  }

  async function* stream(
    sql: string,
    format: trainingSets.TrainingSetFormat,
    signal: AbortSignal,
  ): AsyncIterable<TrainingSetPart> {
    const name = format === ARROW_STREAM ? 'ArrowStream' : format === ARROW_FILE ? 'Arrow' : 'Parquet';
    const answer = await history.client.exec({
      query: `${sql} FORMAT ${name}`,
      abort_signal: signal,
      clickhouse_settings: { output_format_parquet_string_as_string: 1, output_format_arrow_string_as_string: 1 },
    });
    for await (const bytes of answer.stream as AsyncIterable<Buffer>)
      for (let at = 0; at < bytes.length; at += partBytesMax)
        yield { t: 'bytes', bytes: bytes.subarray(at, at + partBytesMax) };
  }
}

export function unknownTrainingSet(id: string): MeshError {
  return new MeshError('UNKNOWN_DEFINITION', `there is no training set "${id}"; list them: millrace training list`, {
    id,
  });
}

/** With the version that the view has now, where the service names none. */
function pinned(
  reference: definitions.FeatureReference,
  views: readonly ViewDefinition[],
): definitions.FeatureReference {
  if (reference.viewVersion !== '') return reference;
  const view = views.find(({ name }) => name === reference.view);
  return { ...reference, viewVersion: view?.version ?? '' };
}

function shapeOf(name: string, spec: definitions.FeatureService, views: readonly ViewDefinition[]): ServiceShape {
  return resolveService(
    name,
    spec,
    (view, version) => views.find((each) => each.name === view && each.version === version) as ViewDefinition,
  );
}

function recordOf(request: compute.BuildTrainingSetRequest, service: ServiceToTrain, labels: Labels) {
  const { featureService, labelQuery, labelsId, allowedDelayUs, complete, sampling, split } = request;
  const { seed, withStatuses, target, leakageReason, likeId } = request;
  return {
    ...{ featureService, labelQuery, labelsId, allowedDelayUs, complete, sampling, split },
    ...{ seed, withStatuses, target, leakageReason, likeId },
    featureServiceVersion: service.version,
    labelDigest: labels.digest,
    labelRows: BigInt(labels.rows),
    duplicateLabels: BigInt(labels.duplicates),
  };
}

function progress(stepsDone: number, stepsTotal: number, activity: string): TrainingSetPart {
  return { t: 'progress', progress: { stepsDone, stepsTotal, activity } };
}
