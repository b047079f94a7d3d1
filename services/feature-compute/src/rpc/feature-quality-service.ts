import { featureQuality } from '@millrace/contracts';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { FeatureResult, FeatureResultBook } from '../app/expectations/feature-judge.ts';

const listed = 100;
const listedMax = 1_000;
const { PASS, FAIL, NO_DATA, INSUFFICIENT_DATA } = featureQuality.FeatureOutcome;
const outcomes = { PASS, FAIL, NO_DATA, INSUFFICIENT_DATA } as const;

/** The wire of FeatureQualityService. */
export function featureQualityService(
  book: FeatureResultBook,
  /** The names of what is expected of a view now; throws UNKNOWN_FEATURE_VIEW. */
  expected: (view: string) => Promise<ReadonlySet<string>>,
): ServiceBinding {
  return bindService(featureQuality.FeatureQualityServiceService, {
    listFeatureResults: async ({ limit, ...filter }) => {
      const names = await expected(filter.view);
      const found = await book.list({ ...filter, limit: Math.min(limit || listed, listedMax) });
      return { results: found.filter(({ expectation }) => !filter.latest || names.has(expectation)).map(toWire) };
    },
  });
}

function toWire({ startUs, endUs, outcome, rows, ...rest }: FeatureResult): featureQuality.FeatureResult {
  return {
    ...rest,
    observed: rest.observed,
    startUs: BigInt(startUs),
    endUs: BigInt(endUs),
    outcome: outcomes[outcome],
    rows: BigInt(rows),
  };
}
