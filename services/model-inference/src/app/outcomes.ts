import { boundedLogLoss } from '@millrace/rollouts';
import { RunningQuality } from '../domain/quality.ts';

export interface ModelQuality {
  readonly model: string;
  readonly modelVersion: string;
  readonly predictions: number;
  readonly outcomes: number;
  readonly auc: number;
  readonly logLoss: number;
  readonly positiveRate: number;
}

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
  }): void;
  /** Counts for every model version whose outcomes the source carries and that predicted this key. */
  outcome(model: string, key: string, positive: boolean, seq: number): void;
  quality(model: string): readonly ModelQuality[];
  readonly pending: number;
  /** Predictions forgotten because too many waited. */
  readonly forgotten: number;
}

interface Tally {
  readonly model: string;
  readonly modelVersion: string;
  predictions: number;
  readonly quality: RunningQuality;
}

interface Waiting {
  readonly tally: Tally;
  readonly score: number;
  readonly deployment: string;
  readonly predictedUs: number;
}

export function createOutcomeBook(options: {
  readonly pendingMax: number;
  readonly onJudged: (judged: Judged) => void;
}): OutcomeBook {
  const tallies = new Map<string, Tally>();
  const pending = new Map<string, Waiting[]>();
  let forgotten = 0;
  return {
    predicted({ deployment, model, modelVersion, predictedUs, key, score }) {
      const id = `${model}@${modelVersion}`;
      const tally = tallies.get(id) ?? { model, modelVersion, predictions: 0, quality: new RunningQuality() };
      tallies.set(id, tally);
      tally.predictions++;
      // NaN is what a model makes of nulls that it cannot take: no score that an outcome could be compared with
      if (key === '' || Number.isNaN(score)) return;
      const path = `${model}\n${key}`;
      const waiting = pending.get(path);
      if (waiting) waiting.push({ tally, score, deployment, predictedUs });
      else pending.set(path, [{ tally, score, deployment, predictedUs }]);
      if (pending.size > options.pendingMax) {
        const [oldest] = pending.keys();
        if (oldest !== undefined) pending.delete(oldest);
        forgotten++;
      }
    },
    outcome(model, key, positive, outcomeSeq) {
      const path = `${model}\n${key}`;
      for (const { tally, score, deployment, predictedUs } of pending.get(path) ?? []) {
        tally.quality.add(score, positive);
        const loss = boundedLogLoss(score, positive);
        options.onJudged({ deployment, model, modelVersion: tally.modelVersion, predictedUs, loss, outcomeSeq });
      }
      pending.delete(path);
    },
    quality: (model) =>
      [...tallies.values()]
        .filter((tally) => tally.model === model)
        .map(({ modelVersion, predictions, quality }) => ({ model, modelVersion, predictions, ...quality.figures() })),
    get pending() {
      return pending.size;
    },
    get forgotten() {
      return forgotten;
    },
  };
}
