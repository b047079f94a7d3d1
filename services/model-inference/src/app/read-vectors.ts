import type { definitions, inference, serving } from '@millrace/contracts';
import type { FeaturesRead } from '../domain/features-read.ts';
import { assembleVectors, nulledWhenStale, type Vectors } from '../domain/vector.ts';
import type { BookedModel } from './model-book.ts';

/** Who waits for an answer. */
export interface Caller {
  /** Aborts when the caller is gone. */
  readonly signal: AbortSignal;
  /** Epoch milliseconds. */
  readonly deadlineMs: number | undefined;
  /** As of a run: 1 is the most urgent, 2 unless given. */
  readonly priority?: number;
}

/** Reads features for rows; one call for all of them. */
export type ReadFeatures = (request: serving.GetFeaturesRequest, options: Caller) => Promise<FeaturesRead>;

export interface ReadVectorsDeps {
  readonly featureService: (name: string) => definitions.FeatureService | undefined;
  readonly readFeatures: ReadFeatures;
}

/** What rows are asked of. */
export interface RowsAsked {
  readonly keys: readonly serving.KeyColumn[];
  readonly requestData: readonly inference.RequestColumn[];
  readonly allowHistory: boolean;
}

export interface VectorsRead {
  readonly vectors: Vectors;
  /** Of those rows. */
  readonly requestData: readonly inference.RequestColumn[];
  readonly features: FeaturesRead | undefined;
}

/** The vectors that the model sees of those rows of a request, in their order. */
export async function readVectors(
  deps: ReadVectorsDeps,
  model: BookedModel,
  request: RowsAsked,
  members: readonly number[],
  /** When the features are read, a time for each row of the request. */
  asOfByRowUs: Float64Array,
  caller: Caller,
): Promise<VectorsRead> {
  // members are in order: as many as all are all
  const isWhole = members.length === asOfByRowUs.length;
  const pick = <T>(list: T[]): T[] => (isWhole || list.length === 0 ? list : members.map((row) => list[row] as T));
  const asOfUs = isWhole ? asOfByRowUs : Float64Array.from(members, (row) => asOfByRowUs[row] ?? 0);
  const { featureService } = model.spec;
  const requestData = request.requestData.map(({ name, doubles }) => ({ name, doubles: pick(doubles) }));
  const response =
    featureService === ''
      ? undefined
      : await deps.readFeatures(
          {
            featureService,
            version: '',
            keys: request.keys.map((key) => ({
              name: key.name,
              strings: pick(key.strings),
              int64s: pick(key.int64s),
              bools: pick(key.bools),
              nulls: isWhole ? key.nulls : nullsOf(key, members),
            })),
            asOfUs: 0n,
            asOfUsByRow: Array.from(asOfUs, BigInt),
            allowPartial: false,
            allowHistory: request.allowHistory,
            omitMetadata: false,
            requestData: requestDataOf(deps.featureService(featureService), requestData),
          },
          caller,
        );
  const features = response && { response, nulledWhenStale: nulledWhenStale(deps.featureService(featureService)) };
  const vectors = assembleVectors(model, features, requestData, asOfUs);
  return { vectors, requestData, features: response };
}

/** What the feature service's expressions take of the request's data. */
function requestDataOf(
  service: definitions.FeatureService | undefined,
  given: readonly inference.RequestColumn[],
): serving.RequestColumn[] {
  const wanted = new Set(service?.requestFields.map(({ name }) => name));
  return given
    .filter(({ name }) => wanted.has(name))
    .map(({ name, doubles }) => ({ name, doubles, int64s: [], strings: [], bools: [], nulls: Buffer.alloc(0) }));
}

function nullsOf({ nulls }: serving.KeyColumn, members: readonly number[]): Buffer {
  return nulls.length === 0 ? nulls : Buffer.from(members.map((row) => nulls[row] ?? 0));
}
