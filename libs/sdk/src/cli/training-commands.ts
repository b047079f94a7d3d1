import type { compute } from '@millrace/contracts';
import { MeshError, parseDurationUs } from '@millrace/kernel';
import Table from 'cli-table3';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { buildTrainingSet, fileFormats, type LabelSource, rebuildTrainingSet } from '../training/build.ts';
import {
  type SamplingOptions,
  type SplitKindName,
  type SplitOptions,
  samplingKinds,
  splitKinds,
} from '../training/options.ts';
import { type CommonOptions, positive, printJson, type Services, withServices } from './context.ts';
import { progressLine } from './progress-line.ts';
import { parseTimeUs } from './rows.ts';
import { describeRecord } from './training-record.ts';

export function addTrainingCommands(program: Command): void {
  const training = program.command('training').description('training sets: labels joined with features point-in-time');
  training
    .command('build')
    .description(
      'build one: millrace training build flight_delay --labels labels.csv --split time-series --out set.parquet',
    )
    .argument('[feature-service]')
    .option('--labels <file>', 'labels: CSV, Parquet, Arrow, Avro, NDJSON or JSON with the join keys and label_time')
    .option('--time-column <name>', 'the column of the file with the time of a label; label_time unless given')
    .option('--label-query <sql>', 'labels: a ClickHouse query that gives label_time and the join keys')
    .option('--like <id>', 'build this training set again, from the same labels, versions, events and seed')
    .requiredOption('--out <file>', 'the file to write')
    .addOption(new Option('--format <format>', 'of the file').choices(Object.keys(fileFormats)).default('parquet'))
    .option('--allowed-delay <duration>', 'events count if they were known so long after label time', duration, 0)
    .option('--complete', 'count every event before label time, whenever it became known')
    .option('--seed <n>', 'of sampling and split', whole, 0)
    .addOption(new Option('--sample <kind>', 'take some labels').choices(Object.keys(samplingKinds)))
    .option('--sample-rows <n>', 'how many rows', whole)
    .option('--sample-share <x>', 'which share of the rows', positive)
    .option('--sample-column <name>', 'the column of a stratified or balanced sample')
    .option('--from <time>', 'the first label time of a sample by time', parseTimeUs)
    .option('--until <time>', 'the end of a sample by time', parseTimeUs)
    .addOption(
      new Option('--split <kind>', "divide the rows as scikit-learn's splitter does").choices(Object.keys(splitKinds)),
    )
    .option('--splits <n>', 'folds or splits', whole)
    .option('--shuffle', 'shuffle rows first (hold-out does unless --no-shuffle)')
    .option('--no-shuffle', 'keep the order of time')
    .option('--test-size <x>', 'test rows: below 1 a share, else a number', positive)
    .option('--train-size <x>', 'training rows likewise', positive)
    .option('--stratify-by <column>', 'keep the share of each value of this column')
    .option('--group-by <column>', 'keep rows with one value of this column on one side')
    .option('--gap <n>', 'rows left out between training and test of a time series', whole)
    .option('--max-train-size <n>', 'the most training rows of a time series', whole)
    .option('--with-statuses', 'a column <feature>__status for each feature')
    .option('--target <column>', 'the column to predict: features that give it away are found')
    .option('--allow-leakage <reason>', 'build in spite of leakage; the reason is kept in the record')
    .option(
      '--allow-failed-expectations',
      'build although rows fail expectations of features that block; the record names them',
    )
    .action((service: string | undefined, _options, command: Command) => build(service, command.optsWithGlobals()));
  training
    .command('list')
    .description('list training sets, newest first')
    .argument('[feature-service]')
    .option('--limit <n>', 'at most so many', whole, 20)
    .action((service: string | undefined, _options, command: Command) => list(service, command.optsWithGlobals()));
  training
    .command('show')
    .description('the record of a training set: what it was built from and what was found')
    .argument('<id>')
    .action((id: string, _options, command: Command) => show(id, command.optsWithGlobals()));
}

interface BuildOptions extends CommonOptions {
  readonly labels?: string;
  readonly timeColumn?: string;
  readonly labelQuery?: string;
  readonly like?: string;
  readonly out: string;
  readonly format: keyof typeof fileFormats;
  readonly allowedDelay: number;
  readonly complete?: boolean;
  readonly seed: number;
  readonly sample?: SamplingOptions['kind'];
  readonly sampleRows?: number;
  readonly sampleShare?: number;
  readonly sampleColumn?: string;
  readonly from?: bigint;
  readonly until?: bigint;
  readonly split?: SplitKindName;
  readonly withStatuses?: boolean;
  readonly target?: string;
  readonly allowLeakage?: string;
  readonly allowFailedExpectations?: boolean;
}

async function build(service: string | undefined, options: BuildOptions & Omit<SplitOptions, 'kind'>): Promise<void> {
  await withServices(options, async (services) => {
    const line = progressLine();
    const address = services.endpoints().services['feature-compute']?.grpc;
    const context = {
      out: options.out,
      format: options.format,
      ...(address === undefined ? {} : { address }),
      onProgress: ({ stepsDone, stepsTotal, activity }: compute.TrainingSetProgress) =>
        line.show(stepsDone, stepsTotal, activity),
    };
    try {
      const record =
        options.like !== undefined
          ? await rebuildTrainingSet(options.like, context)
          : await buildTrainingSet(
              { ...toOptions(options), featureService: named(service), labels: labelsOf(options) },
              context,
            );
      line.end();
      if (options.json) return printJson({ ...record, out: options.out });
      process.stdout.write(`${describeRecord(record)}written to ${options.out}\n`);
      if (record.likeId !== '') await compare(services, record);
    } finally {
      line.end();
    }
  });
}

/** Says whether a set that was built again is what it was. */
async function compare(services: Services, { likeId, digest, labelDigest }: compute.TrainingSetRecord): Promise<void> {
  const { record } = await services.compute().getTrainingSet({ id: likeId });
  if (record?.digest === digest) {
    process.stdout.write(`the same digest as ${likeId}\n`);
    return;
  }
  const changed = record?.labelDigest === labelDigest ? 'history' : 'what the label query gives';
  process.stderr.write(`not the digest of ${likeId} (${record?.digest}): ${changed} has changed since\n`);
  process.exitCode = 1;
}

function named(service: string | undefined): string {
  if (service !== undefined) return service;
  throw new MeshError(
    'INVALID_ARGUMENT',
    'name a feature service, or a training set to build again with --like <id>',
    {},
  );
}

function labelsOf({ labels, labelQuery, timeColumn }: BuildOptions): LabelSource {
  if (labels !== undefined && labelQuery === undefined)
    return { file: labels, ...(timeColumn === undefined ? {} : { timeColumn }) };
  if (labelQuery !== undefined && labels === undefined) return { query: labelQuery };
  throw new MeshError('INVALID_ARGUMENT', 'name the labels: --labels <file> or --label-query <sql>, one of them', {});
}

function toOptions(options: BuildOptions & Omit<SplitOptions, 'kind'>) {
  const { sample, split, target, allowLeakage, allowFailedExpectations } = options;
  return {
    allowedDelayUs: options.allowedDelay,
    complete: options.complete ?? false,
    seed: options.seed,
    format: options.format,
    withStatuses: options.withStatuses ?? false,
    ...(target === undefined ? {} : { target }),
    ...(allowLeakage === undefined ? {} : { allowLeakage }),
    ...(allowFailedExpectations === undefined ? {} : { allowFailedExpectations }),
    ...(sample === undefined ? {} : { sampling: samplingOf(sample, options) }),
    ...(split === undefined ? {} : { split: splitOf(split, options) }),
  };
}

function samplingOf(kind: SamplingOptions['kind'], options: BuildOptions): SamplingOptions {
  const rows = options.sampleRows === undefined ? {} : { rows: options.sampleRows };
  const share = options.sampleShare === undefined ? {} : { share: options.sampleShare };
  const column = options.sampleColumn ?? '';
  switch (kind) {
    case 'random':
      return { kind, ...rows, ...share };
    case 'stratified':
      return { kind, column, ...rows, ...share };
    case 'balanced':
      return { kind, column, ...rows };
    case 'time':
      return { kind, fromUs: options.from ?? 0n, untilUs: options.until ?? 0n };
    default:
      return kind satisfies never;
  }
}

const splitOptions = [
  'splits',
  'shuffle',
  'testSize',
  'trainSize',
  'stratifyBy',
  'groupBy',
  'gap',
  'maxTrainSize',
] as const;

function splitOf(kind: SplitKindName, options: Omit<SplitOptions, 'kind'>): SplitOptions {
  const given = splitOptions.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]]));
  return { kind, ...(Object.fromEntries(given) as Omit<SplitOptions, 'kind'>) };
}

async function list(service: string | undefined, options: CommonOptions & { readonly limit: number }): Promise<void> {
  await withServices(options, async (services) => {
    const request = { featureService: service ?? '', limit: options.limit };
    const { records } = await services.compute().listTrainingSets(request);
    if (options.json) return printJson(records);
    if (records.length === 0) {
      process.stdout.write(
        'no training set yet; try: millrace training build <feature-service> --labels <file> --out <file>\n',
      );
      return;
    }
    const table = new Table({
      head: ['id', 'built', 'feature service', 'rows', 'split', 'digest'],
      style: { head: [], border: [] },
    });
    for (const record of records) {
      const split = Object.entries(splitKinds).find(([, kind]) => kind === record.split?.kind)?.[0] ?? '';
      const built = new Date(Number(record.createdUs / 1000n)).toISOString();
      table.push([record.id, built, record.featureService, String(record.rows), split, record.digest.slice(0, 12)]);
    }
    process.stdout.write(`${table.toString()}\n`);
  });
}

async function show(id: string, options: CommonOptions): Promise<void> {
  await withServices(options, async (services) => {
    const { record } = await services.compute().getTrainingSet({ id });
    if (record === undefined) return;
    if (options.json) printJson(record);
    else process.stdout.write(describeRecord(record));
  });
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 2 ** 32 - 1)
    throw new InvalidArgumentError('write a whole number from 0 to 4294967295');
  return value;
}

function duration(text: string): number {
  try {
    return parseDurationUs(text);
  } catch (cause) {
    throw new InvalidArgumentError((cause as Error).message);
  }
}
