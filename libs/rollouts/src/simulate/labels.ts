import { boundedLogLoss, createLossBlocks } from '../statistics/bets.ts';
import { type Moments, momentsOf, noMoments } from '../statistics/means.ts';
import type { Random } from './random.ts';

/** Outcomes of what is predicted, each known at once. */
export interface Labels {
  /** The share of positives when scores stand in the middle; log-odds lie around it with a standard deviation of 1. */
  readonly positiveRate: number;
  /** The stable arm's scores are the true chances; the canary's log-odds are off by so many standard deviations of a normal. */
  readonly scoreNoise: number;
}

export interface LabelledRow {
  readonly isCanary: boolean;
  readonly score: number;
  readonly positive: boolean;
}

export interface Losses {
  readonly canary: Moments;
  readonly stable: Moments;
  readonly differences: readonly number[];
}

export const noLosses: Losses = { canary: noMoments, stable: noMoments, differences: [] };

/** Losses of so many predictions of both arms, in an order by lot. */
export function drawLosses(random: Random, labels: Labels, canary: number, stable: number): Losses {
  const middle = logit(labels.positiveRate);
  let [canaryLeft, left] = [canary, canary + stable];
  const rows = Array.from({ length: left }, (): LabelledRow => {
    const isCanary = random.unit() * left-- < canaryLeft;
    if (isCanary) canaryLeft--;
    const score = chanceOf(middle + random.normal());
    return { isCanary, score, positive: random.unit() < score };
  });
  return lossesOf(random, labels.scoreNoise, rows);
}

/** Losses of rows in their order, the canary's scores with noise on them. */
export function lossesOf(random: Random, scoreNoise: number, rows: readonly LabelledRow[]): Losses {
  const blocks = createLossBlocks();
  const losses = { canary: [] as number[], stable: [] as number[] };
  for (const { isCanary, score, positive } of rows) {
    const isNoisy = isCanary && scoreNoise > 0;
    const given = isNoisy ? chanceOf(logit(score) + scoreNoise * random.normal()) : score;
    const loss = boundedLogLoss(given, positive);
    (isCanary ? losses.canary : losses.stable).push(loss);
    blocks.add(isCanary, loss);
  }
  return { canary: momentsOf(losses.canary), stable: momentsOf(losses.stable), differences: blocks.take() };
}

function chanceOf(logOdds: number): number {
  return 1 / (1 + Math.exp(-logOdds));
}

function logit(p: number): number {
  return Math.log(p) - Math.log1p(-p);
}
