import { compute } from '@millrace/contracts';
import { derivedOf, type ViewDefinition, viewFeatureTypes } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { EvaluateAsOf } from '../app/as-of.ts';
import type { MismatchBook } from '../app/report-mismatches.ts';
import type { ComputeStatus } from '../app/status.ts';
import type { UploadLabels } from '../app/training/label-store.ts';
import { type BuildTrainingSet, type TrainingSetBook, unknownTrainingSet } from '../app/training/training-set.ts';
import type { Verifier, VerifierStatus } from '../app/verifier.ts';
import type { VerifySamples } from '../app/verify.ts';
import { fromSampleValue, toAsOfSamples, toSampleValue, toServedMismatch } from './sample-values.ts';

const samplesMax = 10_000;
const mismatchesListedMax = 1_000;
const trainingSetsListedMax = 1_000;
const mismatchesListed = 100;

export type ComputeServiceParts = {
  readonly status: () => Promise<ComputeStatus>;
  /** The definition of a view version, the current one when the version is empty. Throws UNKNOWN_FEATURE_VIEW. */
  readonly view: (name: string, version: string) => Promise<ViewDefinition>;
  readonly evaluate: EvaluateAsOf;
  readonly verify: VerifySamples;
  readonly mismatches: Pick<MismatchBook, 'list'>;
  readonly verifier: Pick<Verifier, 'status'>;
  readonly buildTrainingSet: BuildTrainingSet;
  readonly uploadLabels: UploadLabels;
  readonly trainingSets: TrainingSetBook;
};

/** The wire of ComputeService. */
export function computeService(parts: ComputeServiceParts): ServiceBinding {
  return bindService(compute.ComputeServiceService, {
    getStatus: async () => toStatusResponse(await parts.status()),

    evaluateAsOf: async (request) => {
      const { view, features } = await resolve(request, true);
      const types = typesOf(view, features);
      const results = await parts.evaluate(view, features, toAsOfSamples(request.samples, view), { withFound: true });
      return {
        features: [...features],
        results: results.map(({ values, found }) => ({
          found,
          values: values.map((value, at) => toSampleValue(value, types[at] ?? 'DOUBLE')),
        })),
      };
    },

    verifySamples: async (request, context) => {
      const { view, features } = await resolve(request, false);
      const samples = toAsOfSamples(request.samples, view).map((sample, at) => ({
        ...sample,
        served: servedOf(request.samples[at], features, at),
      }));
      const { deadlineMs, signal } = context;
      const { compared, mismatches } = await parts.verify(view, features, samples, { deadlineMs, signal });
      return {
        compared: BigInt(compared),
        mismatched: BigInt(mismatches.length),
        mismatches: mismatches.slice(0, mismatchesListedMax).map(({ sample, feature, type, served, expected }) => ({
          sample,
          feature,
          served: toSampleValue(served, type),
          expected: toSampleValue(expected, type),
        })),
      };
    },

    listMismatches: async ({ view, feature, limit }) => {
      const found = await parts.mismatches.list({
        view,
        feature,
        limit: Math.min(limit === 0 ? mismatchesListed : limit, mismatchesListedMax),
      });
      return { mismatches: found.map(toServedMismatch), verifier: toVerifierStatus(parts.verifier.status()) };
    },

    buildTrainingSet: async function* (request, context) {
      for await (const part of parts.buildTrainingSet(request, context.signal)) {
        switch (part.t) {
          case 'bytes':
            yield { part: { $case: 'parquet' as const, value: part.bytes } };
            break;
          case 'progress':
            yield { part: { $case: 'progress' as const, value: part.progress } };
            break;
          case 'record':
            yield { part: { $case: 'record' as const, value: part.record } };
            break;
          default:
            part satisfies never;
        }
      }
    },

    uploadLabels: async function* (requests) {
      yield await parts.uploadLabels(requests);
    },

    listTrainingSets: async ({ featureService, limit }) => ({
      records: await parts.trainingSets.list(featureService, Math.min(limit || 100, trainingSetsListedMax)),
    }),

    getTrainingSet: async ({ id }) => {
      const record = await parts.trainingSets.get(id);
      if (record === undefined) throw unknownTrainingSet(id);
      return { record };
    },
  });

  async function resolve(
    request: {
      readonly view: string;
      readonly version: string;
      readonly features: readonly string[];
      readonly samples: readonly unknown[];
    },
    withDerived: boolean,
  ): Promise<{ view: ViewDefinition; features: readonly string[] }> {
    if (request.samples.length > samplesMax) {
      throw new MeshError(
        'TOO_MANY_ROWS',
        `${request.samples.length} samples are more than the limit of ${samplesMax}`,
        {
          samples: request.samples.length,
          limit: samplesMax,
        },
      );
    }
    const view = await parts.view(request.view, request.version);
    // derived features are not verified: they are made of those that are, by expressions that are held against SQL elsewhere
    const derived = withDerived ? (view.derived ?? []) : [];
    const known = new Set([...view.features, ...derived].map((feature) => feature.name));
    const unknown = request.features.find((feature) => !known.has(feature));
    if (unknown !== undefined) {
      throw new MeshError(
        'UNKNOWN_DEFINITION',
        `view "${view.name}" has no feature "${unknown}"; it has ${[...known].join(', ')}`,
        {
          view: view.name,
          feature: unknown,
        },
      );
    }
    return { view, features: request.features.length > 0 ? request.features : [...known] };
  }
}

function servedOf(sample: compute.Sample | undefined, features: readonly string[], index: number) {
  const served = sample?.served ?? [];
  if (served.length !== features.length) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `sample ${index} has ${served.length} served values for ${features.length} features`,
      {
        sample: index,
        served: served.length,
        features: features.length,
      },
    );
  }
  return served.map(fromSampleValue);
}

function typesOf(view: ViewDefinition, features: readonly string[]) {
  const types = viewFeatureTypes(view);
  const byName = new Map([
    ...view.features.map((feature, at) => [feature.name, types[at]] as const),
    ...derivedOf(view).map(({ name, expression }) => [name, expression.type] as const),
  ]);
  return features.map((feature) => byName.get(feature));
}

const stateOfPhase = {
  warming: compute.ViewState.WARMING,
  ready: compute.ViewState.READY,
  failed: compute.ViewState.FAILED,
} as const;

function toStatusResponse(status: ComputeStatus): compute.GetStatusResponse {
  return {
    rowPosition: BigInt(status.rowPosition),
    checkpointPosition: BigInt(status.checkpointPosition),
    streamPosition: BigInt(status.streamPosition),
    rowsWritten: BigInt(status.rowsWritten),
    eventsApplied: BigInt(status.eventsApplied),
    parityCompared: BigInt(status.parityCompared),
    parityMismatched: BigInt(status.parityMismatched),
    verifier: toVerifierStatus(status.verifier),
    views: status.views.map((view) => ({
      view: view.name,
      version: view.version,
      state: stateOfPhase[view.state],
      entities: BigInt(view.entities),
      backfillProgress: view.progress,
      frontierUs: BigInt(view.frontierUs),
      lateDropped: BigInt(view.lateDropped),
      error: view.error,
    })),
  };
}

function toVerifierStatus(status: VerifierStatus): compute.VerifierStatus {
  return {
    compared: BigInt(status.compared),
    mismatched: BigInt(status.mismatched),
    samplesWaiting: BigInt(status.samplesWaiting),
    samplesDropped: BigInt(status.samplesDropped),
    lagUs: BigInt(status.lagUs),
  };
}
