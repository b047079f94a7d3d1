import type { ViewDefinition } from '@millrace/features';
import { type Clock, MeshError, sleep } from '@millrace/kernel';
import type { CompareSamples, ServedSample, Verification } from './compare-samples.ts';
import type { ReportMismatches } from './report-mismatches.ts';

export type VerifySamples = (
  view: ViewDefinition,
  features: readonly string[],
  samples: readonly ServedSample[],
  options: { readonly deadlineMs: number | undefined; readonly signal: AbortSignal },
) => Promise<Verification>;

const pollMs = 50;

/** Compares served values with what history says, after waiting until history holds every sample's position. */
export function createVerifySamples(deps: {
  readonly compare: CompareSamples;
  readonly report: ReportMismatches;
  readonly maxPosition: (source: string) => Promise<number>;
  readonly clock: Clock;
  readonly waitMs: number;
}): VerifySamples {
  return async (view, features, samples, { deadlineMs, signal }) => {
    await waitForHistory(view.source, samples, deadlineMs, signal);
    const verification = await deps.compare(view, features, samples);
    await deps.report(view, samples, verification);
    return verification;
  };

  async function waitForHistory(
    source: string,
    samples: readonly ServedSample[],
    deadlineMs: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const target = samples.reduce((largest, sample) => Math.max(largest, sample.position), 0);
    const nowMs = () => deps.clock.nowUs() / 1000;
    const untilMs = Math.min(
      nowMs() + deps.waitMs,
      deadlineMs === undefined ? Number.POSITIVE_INFINITY : deadlineMs - 500,
    );
    for (;;) {
      const reached = await deps.maxPosition(source);
      if (reached >= target) return;
      if (signal.aborted || nowMs() >= untilMs) {
        throw new MeshError(
          'NOT_READY',
          `history of source "${source}" has come to position ${reached}, not yet to ${target}; try again later`,
          { source, reached, target },
          { retryAfterMs: 1_000 },
        );
      }
      await sleep(pollMs, signal);
    }
  }
}
