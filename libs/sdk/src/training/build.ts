import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { access, rename, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { compute, trainingSets } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { type Client, connect } from '@millrace/rpc';
import { readEndpoints } from '../endpoints.ts';
import { type SamplingOptions, type SplitOptions, toSampling, toSplit } from './options.ts';

/** Labels, each with the join keys under their names and the time as of which features are wanted. */
export type LabelSource =
  /** A ClickHouse query that gives `label_time`, the join keys and what else is to be carried over. */
  | { readonly query: string }
  /** A CSV, Parquet, Arrow, Avro, NDJSON or JSON file; the time is in column `timeColumn`, `label_time` unless set. */
  | { readonly file: string; readonly timeColumn?: string; readonly format?: string };

export interface TrainingSetOptions {
  readonly featureService: string;
  readonly labels: LabelSource;
  /** An event counts only if it was known by label time plus this; 0 unless set. */
  readonly allowedDelayUs?: number;
  /** Counts every event before label time, whenever it became known. */
  readonly complete?: boolean;
  readonly sampling?: SamplingOptions;
  readonly split?: SplitOptions;
  /** Of sampling and split; 0 unless set. */
  readonly seed?: number;
  readonly format?: keyof typeof fileFormats;
  /** Adds a column `<feature>__status` for each feature: PRESENT, NULL, NOT_FOUND or DEFAULTED. */
  readonly withStatuses?: boolean;
  /** The column to be predicted: features that give it away are found. */
  readonly target?: string;
  /** Builds the set in spite of leakage; says why. */
  readonly allowLeakage?: string;
  /** Build although rows fail expectations of features that block (EXPECTATION_FAILED); the record names them. */
  readonly allowFailedExpectations?: boolean;
}

export interface BuildContext {
  /** The file that is written; it is there only when it is whole. */
  readonly out: string;
  /** `host:port` of feature-compute; of the nearest endpoints file unless set. */
  readonly address?: string;
  readonly onProgress?: (progress: compute.TrainingSetProgress) => void;
  readonly signal?: AbortSignal;
}

export const fileFormats = {
  parquet: trainingSets.TrainingSetFormat.UNSPECIFIED,
  'arrow-stream': trainingSets.TrainingSetFormat.ARROW_STREAM,
  arrow: trainingSets.TrainingSetFormat.ARROW_FILE,
} as const;

const uploadBytesMax = 1 << 20;

/** Builds a training set, writes it to a file and gives its record. LEAKAGE_FOUND names what leaks, unless `allowLeakage` says why it may. */
export async function buildTrainingSet(
  options: TrainingSetOptions,
  context: BuildContext,
): Promise<compute.TrainingSetRecord> {
  return withCompute(context, async (client) => {
    const { labels, sampling, split } = options;
    const request = compute.BuildTrainingSetRequest.fromPartial({
      featureService: options.featureService,
      allowedDelayUs: BigInt(Math.round(options.allowedDelayUs ?? 0)),
      complete: options.complete ?? false,
      seed: options.seed ?? 0,
      format: fileFormats[options.format ?? 'parquet'],
      withStatuses: options.withStatuses ?? false,
      target: options.target ?? '',
      allowLeakage: options.allowLeakage !== undefined,
      leakageReason: options.allowLeakage ?? '',
      allowFailedExpectations: options.allowFailedExpectations ?? false,
      ...('query' in labels ? { labelQuery: labels.query } : { labelsId: await upload(client, labels, context) }),
    });
    if (sampling) request.sampling = toSampling(sampling);
    if (split) request.split = toSplit(split);
    return receive(client, request, context);
  });
}

/** Builds the training set of that id again, from the same labels, versions, events and seed. */
export async function rebuildTrainingSet(
  id: string,
  context: BuildContext & { readonly format?: keyof typeof fileFormats },
): Promise<compute.TrainingSetRecord> {
  return withCompute(context, async (client) => {
    const format = fileFormats[context.format ?? 'parquet'];
    return receive(client, compute.BuildTrainingSetRequest.fromPartial({ likeId: id, format }), context);
  });
}

type ComputeClient = Client<typeof compute.ComputeServiceService>;

async function withCompute<T>(context: BuildContext, work: (client: ComputeClient) => Promise<T>): Promise<T> {
  const address = context.address ?? readEndpoints().services['feature-compute']?.grpc;
  if (address === undefined)
    throw new MeshError(
      'SERVICE_UNAVAILABLE',
      'the endpoints file names no service "feature-compute"; is it running?',
      {
        service: 'feature-compute',
      },
    );
  const client = connect(compute.ComputeServiceService, address);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

async function upload(
  client: ComputeClient,
  { file, timeColumn = '', format = '' }: Extract<LabelSource, { file: string }>,
  { signal }: BuildContext,
): Promise<string> {
  async function* messages(): AsyncGenerator<trainingSets.UploadLabelsRequest> {
    for await (const data of createReadStream(file, { highWaterMark: uploadBytesMax }))
      yield { name: basename(file), format, timeColumn, data: data as Buffer };
  }
  await access(file).catch((cause) => {
    throw new MeshError('INPUT_NOT_FOUND', `there is no file "${file}" that can be read`, { file }, { cause });
  });
  for await (const { labelsId } of client.uploadLabels(messages(), signal ? { signal } : {})) return labelsId;
  throw new MeshError('INTERNAL', 'the upload of labels ended without an answer', { file });
}

async function receive(
  client: ComputeClient,
  request: compute.BuildTrainingSetRequest,
  { out, onProgress, signal }: BuildContext,
): Promise<compute.TrainingSetRecord> {
  const partial = `${out}.part`;
  const file = createWriteStream(partial);
  let record: compute.TrainingSetRecord | undefined;
  try {
    await once(file, 'open');
    for await (const { part } of client.buildTrainingSet(request, signal ? { signal } : {})) {
      if (part?.$case === 'progress') onProgress?.(part.value);
      if (part?.$case === 'parquet' && !file.write(part.value)) await once(file, 'drain');
      if (part?.$case === 'record') record = part.value;
    }
    file.end();
    await once(file, 'close');
    if (record === undefined) throw new MeshError('INTERNAL', 'the training set ended without a record', {});
    await rename(partial, out);
    return record;
  } finally {
    file.destroy();
    await rm(partial, { force: true });
  }
}
