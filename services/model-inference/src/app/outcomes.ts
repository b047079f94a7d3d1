import { boundedLogLoss } from '@millrace/rollouts';
import { type QualityFigures, RunningQuality } from '../domain/quality.ts';

export interface ModelQuality extends QualityFigures {
  readonly model: string;
  readonly modelVersion: string;
  readonly predictions: number;
  readonly segments: readonly SegmentQuality[];
}

/** A value of a column that the model's definition names as a segment. */
export interface Segment {
  readonly column: string;
  readonly value: string;
}

export interface SegmentQuality extends QualityFigures, Segment {
  readonly predictions: number;
}

/** Values of a column that have figures of their own; what comes later is `other`. */
const segmentValuesMax = 32;
export const otherSegment = 'other';
/** Of AUC of a segment: 8 KiB each. */
const segmentBins = 1_024;

/** A prediction whose outcome came. */
export interface Judged {
  readonly deployment: string;
  readonly model: string;
  readonly modelVersion: string;
  readonly predictedUs: number;
  /** The log loss in nats, bounded as a guardrail takes it. */
  readonly loss: number;
  /** Where the outcome is in the EVENTS stream. */
  readonly outcomeSeq: number;
}

/** Predictions that wait for their outcome, and the quality of those that got one. A function of the PREDICTIONS and EVENTS streams. */
export interface OutcomeBook {
  predicted(prediction: {
    readonly deployment: string;
    readonly model: string;
    readonly modelVersion: string;
    readonly predictedUs: number;
    readonly key: string;
    readonly score: number;
    readonly segments?: readonly Segment[];
  }): void;
  /** Counts for every model version whose outcomes the source carries and that predicted this key. */
  outcome(model: string, key: string, outcome: number, seq: number): void;
  quality(model: string): readonly ModelQuality[];
  readonly pending: number;
  /** Predictions forgotten because too many waited. */
  readonly forgotten: number;
}

interface Tally {
  predictions: number;
  readonly quality: RunningQuality;
}

interface VersionTally extends Tally {
  readonly model: string;
  readonly modelVersion: string;
  /** By column, then by value. */
  readonly segments: Map<string, Map<string, Tally>>;
}

interface Waiting {
  readonly tally: VersionTally;
  readonly segments: readonly Tally[];
  readonly score: number;
  readonly deployment: string;
  readonly predictedUs: number;
}

export function createOutcomeBook(options: {
  readonly pendingMax: number;
  readonly onJudged: (judged: Judged) => void;
}): OutcomeBook {
  const tallies = new Map<string, VersionTally>();
  const pending = new Map<string, Waiting[]>();
  let forgotten = 0;
  return {
    predicted({ deployment, model, modelVersion, predictedUs, key, score, segments: given = [] }) {
      const id = `${model}@${modelVersion}`;
      const tally = tallies.get(id) ?? newTally(model, modelVersion);
      tallies.set(id, tally);
      const segments = given.map((segment) => segmentOf(tally, segment));
      for (const one of [tally, ...segments]) one.predictions++;
      // NaN is what a model makes of nulls that it cannot take: no score that an outcome could be compared with
      if (key === '' || Number.isNaN(score)) return;
      const path = `${model}\n${key}`;
      const waiting = pending.get(path);
      if (waiting) waiting.push({ tally, segments, score, deployment, predictedUs });
      else pending.set(path, [{ tally, segments, score, deployment, predictedUs }]);
      if (pending.size > options.pendingMax) {
        const [oldest] = pending.keys();
        if (oldest !== undefined) pending.delete(oldest);
        forgotten++;
      }
    },
    outcome(model, key, outcome, outcomeSeq) {
      const path = `${model}\n${key}`;
      for (const { tally, segments, score, deployment, predictedUs } of pending.get(path) ?? []) {
        for (const { quality } of [tally, ...segments]) quality.add(score, outcome);
        const loss = boundedLogLoss(score, outcome > 0);
        options.onJudged({ deployment, model, modelVersion: tally.modelVersion, predictedUs, loss, outcomeSeq });
      }
      pending.delete(path);
    },
    quality: (model) =>
      [...tallies.values()]
        .filter((tally) => tally.model === model)
        .map(({ modelVersion, predictions, quality, segments }) => ({
          ...{ model, modelVersion, predictions, ...quality.figures() },
          segments: [...segments].flatMap(([column, values]) =>
            [...values].map(([value, one]) => ({
              ...{ column, value, predictions: one.predictions, ...one.quality.figures() },
            })),
          ),
        })),
    get pending() {
      return pending.size;
    },
    get forgotten() {
      return forgotten;
    },
  };
}

function newTally(model: string, modelVersion: string): VersionTally {
  return { model, modelVersion, predictions: 0, quality: new RunningQuality(), segments: new Map() };
}

function segmentOf({ segments }: VersionTally, { column, value }: Segment): Tally {
  const values = segments.get(column) ?? new Map<string, Tally>();
  segments.set(column, values);
  const named = values.has(value) || values.size < segmentValuesMax ? value : otherSegment;
  const tally = values.get(named) ?? { predictions: 0, quality: new RunningQuality(segmentBins) };
  values.set(named, tally);
  return tally;
}
