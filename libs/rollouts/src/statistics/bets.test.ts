import { expect, test } from 'vitest';
import { createRandom, type Random } from '../simulate/random.ts';
import { betsAbove, betsBelow, boundedLogLoss, createLossBlocks, lossMax } from './bets.ts';
import { logMeanExp } from './log-sum.ts';
import { differenceLogE, mergeMoments, mixingRate, noMoments } from './means.ts';

type Model = (random: Random) => number;
const chanceOf = (logOdds: number) => 1 / (1 + Math.exp(-logOdds));
/** Scores of a model whose log-odds are `score` where the truth's are `truth`. */
const scored =
  (truth: (z: number) => number, score = truth): Model =>
  (random) => {
    const z = random.normal();
    return boundedLogLoss(chanceOf(score(z)), random.unit() < chanceOf(truth(z)));
  };
const delays = (z: number) => 0.7 * z - 1.5;
/** From losses that are almost always nearly 0 and now and then 7, to those of a coin. */
const models: Readonly<Record<string, Model>> = {
  'one in a hundred': (random) => boundedLogLoss(0.01, random.unit() < 0.01),
  'three in a thousand': (random) => boundedLogLoss(0.003, random.unit() < 0.003),
  'far too sure': (random) => boundedLogLoss(0.0005, random.unit() < 0.02),
  'mostly small chances': (random) => {
    const chance = random.unit() ** 6;
    return boundedLogLoss(chance, random.unit() < chance);
  },
  'flights that are late': scored(delays),
};

interface Play {
  readonly canary: Model;
  readonly stable: Model;
  readonly share: number;
  readonly outcomes: number;
}

/** The largest evidence of a run, looked at after every outcome; and of the asymptotic test on the same outcomes, from 100 of each arm. */
function peaks(seed: number, { canary, stable, share, outcomes }: Play) {
  const random = createRandom(seed);
  const blocks = createLossBlocks();
  let [worse, better] = [betsAbove(0, 0).map(() => 0), betsAbove(0, 0).map(() => 0)];
  const peak = { worse: 0, better: 0, asymptotic: 0 };
  let arms = { canary: noMoments, stable: noMoments };
  const rate = mixingRate(0.01, 1_000);
  for (let at = 0; at < outcomes; at++) {
    const isCanary = random.unit() < share;
    const loss = (isCanary ? canary : stable)(random);
    blocks.add(isCanary, loss);
    const name = isCanary ? 'canary' : 'stable';
    arms = { ...arms, [name]: mergeMoments(arms[name], { count: 1, mean: loss, squares: 0 }) };
    for (const difference of blocks.take()) {
      worse = worse.map((log, index) => log + (betsAbove(difference, 0)[index] ?? 0));
      better = better.map((log, index) => log + (betsBelow(difference, 0)[index] ?? 0));
      peak.worse = Math.max(peak.worse, logMeanExp(worse));
      peak.better = Math.max(peak.better, logMeanExp(better));
    }
    if (arms.canary.count >= 100 && arms.stable.count >= 100)
      peak.asymptotic = Math.max(peak.asymptotic, differenceLogE(arms.canary, arms.stable, 0, rate));
  }
  return peak;
}

const runs = 300;
const above = (logs: readonly number[], alpha: number) => logs.filter((log) => log >= Math.log(1 / alpha)).length;
/** Three standard deviations above a true rate of alpha. */
const allowed = (alpha: number) => alpha + 3 * Math.sqrt((alpha * (1 - alpha)) / runs);

test('between equally good models alarms keep alpha and verdicts of good keep beta, with a look after each of 1,000 outcomes', () => {
  const asymptotic: number[] = [];
  for (const [name, model] of Object.entries(models)) {
    for (const share of [0.1, 0.5, 0.9]) {
      const played = Array.from({ length: runs }, (_, seed) =>
        peaks(seed + 1, { canary: model, stable: model, share, outcomes: 1_000 }),
      );
      for (const alpha of [0.01, 0.05]) {
        const alarms = above(
          played.map(({ worse }) => worse),
          alpha,
        );
        const found = above(
          played.map(({ better }) => better),
          alpha,
        );
        expect(alarms / runs, `${name}, ${share}, ${alpha}`).toBeLessThanOrEqual(allowed(alpha));
        expect(found / runs, `${name}, ${share}, ${alpha}`).toBeLessThanOrEqual(allowed(alpha));
      }
      asymptotic.push(
        above(
          played.map((peak) => peak.asymptotic),
          0.01,
        ) / runs,
      );
    }
  }
  // what the bets are for: a sequence that trusts in normal means is wrong far more often than 1 % where losses are skewed
  expect(Math.max(...asymptotic)).toBeGreaterThan(0.05);
});

test('a fault of both arms alike, and shares that change meanwhile, are no evidence', () => {
  let alarms = 0;
  for (let seed = 1; seed <= runs; seed++) {
    const random = createRandom(seed);
    const blocks = createLossBlocks();
    for (let at = 0; at < 1_000; at++) {
      const isLate = at >= 500;
      blocks.add(random.unit() < (isLate ? 0.5 : 0.05), boundedLogLoss(0.2, random.unit() < (isLate ? 0.6 : 0.1)));
    }
    let logs = betsAbove(0, 0).map(() => 0);
    const seen = blocks.take().map((difference) => {
      logs = logs.map((log, index) => log + (betsAbove(difference, 0)[index] ?? 0));
      return logMeanExp(logs);
    });
    if (Math.max(...seen) >= Math.log(100)) alarms++;
  }
  expect(alarms / runs).toBeLessThanOrEqual(allowed(0.01));
});

/** Outcomes of both arms until the half of 40 runs has an alarm at alpha. */
function outcomesToAlarm(canary: Model, stable: Model, share: number, alpha: number): number {
  const needed = Array.from({ length: 40 }, (_, seed) => {
    const random = createRandom(seed + 1);
    const blocks = createLossBlocks();
    let logs = betsAbove(0, 0).map(() => 0);
    for (let at = 1; at <= 20_000; at++) {
      const isCanary = random.unit() < share;
      blocks.add(isCanary, (isCanary ? canary : stable)(random));
      for (const difference of blocks.take()) {
        logs = logs.map((log, i) => log + (betsAbove(difference, 0)[i] ?? 0));
        if (logMeanExp(logs) >= Math.log(1 / alpha)) return at;
      }
    }
    return Number.POSITIVE_INFINITY;
  });
  return needed.sort((a, b) => a - b)[20] ?? Number.POSITIVE_INFINITY;
}

test('power: reversed coefficients (0.15 nats worse) take some 2,300 outcomes at a share of 0.25, a model that is confidently wrong some 100', () => {
  const good = scored(delays);
  const reversed = scored(delays, (z) => -0.7 * z - 1.5);
  const wrong = scored(delays, (z) => -8 * z + 3);
  expect(outcomesToAlarm(reversed, good, 0.25, 0.005)).toBeLessThan(3_000);
  expect(outcomesToAlarm(reversed, good, 0.5, 0.005)).toBeLessThan(2_200);
  expect(outcomesToAlarm(wrong, good, 0.25, 0.005)).toBeLessThan(150);
});

test('losses and bets are bounded, whatever the score', () => {
  for (const score of [-5, 0, 1e-300, 0.5, 1, 7, Number.POSITIVE_INFINITY])
    for (const positive of [true, false]) {
      const loss = boundedLogLoss(score, positive);
      expect(loss).toBeGreaterThanOrEqual(0);
      expect(loss).toBeLessThanOrEqual(lossMax + 1e-12);
    }
  for (const limit of [0, 0.02, 3])
    for (const difference of [-lossMax, 0, lossMax])
      for (const log of [...betsAbove(difference, limit), ...betsBelow(difference, limit)])
        expect(log).toBeGreaterThan(Math.log(0.09));
});
