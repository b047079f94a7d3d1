import { readFile } from 'node:fs/promises';
import { MeshError } from '@millrace/kernel';
import {
  type LoggedPrediction,
  loggedTraffic,
  type Regression,
  type RolloutPlan,
  ruleNames,
  type SimulationResult,
  simulate,
  syntheticTraffic,
} from '@millrace/rollouts';
import Table from 'cli-table3';
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { rolloutPlan } from '../define/rollout-plan.ts';
import { type CommonOptions, positive, printJson, reportError } from './context.ts';

interface SimulateOptions extends CommonOptions {
  readonly requestsPerS: number;
  readonly error: readonly [stable: number, canary: number];
  readonly slowdown: number;
  readonly scoreShift: number;
  readonly positiveRate?: number;
  readonly scoreNoise: number;
  readonly log?: string;
  readonly runs: number;
  readonly hours: number;
  readonly seed: number;
}

const rowsMax = 1_000_000;

export function addSimulateCommand(rollout: Command): void {
  rollout
    .command('simulate [plan]')
    .description(
      'plays a plan (YAML; without one the default plan) on traffic: how often a healthy canary is rolled back, how soon a bad one, beside fixed thresholds',
    )
    .option('--requests-per-s <n>', 'requests a second of both arms', positive, 200)
    .option('--error <stable:canary>', 'error rates of the arms', errorRates, [0.005, 0.01] as const)
    .option('--slowdown <factor>', 'latencies of the canary relative to the stable arm’s', positive, 1)
    .option('--score-shift <d>', 'added to the canary’s scores', numberOf, 0)
    .option('--positive-rate <p>', 'draws outcomes for a quality guardrail, this share of them positive', rateOf)
    .option('--score-noise <sd>', 'of the canary’s log-odds, where there are outcomes', numberOf, 0)
    .option(
      '--log <file>',
      'replays predictions, a JSON object a line: predicted_us, score, and latency_ms, error and outcome if known',
    )
    .option('--runs <n>', 'how many rollouts are played', positive, 200)
    .option('--hours <n>', 'how long each is watched', positive, 1)
    .option('--seed <n>', 'another draw', numberOf, 1)
    .action((file: string | undefined, _options, command: Command) =>
      simulateRollout(file, command.optsWithGlobals<SimulateOptions>()).catch((thrown) =>
        reportError(thrown, command.optsWithGlobals()),
      ),
    );
}

async function simulateRollout(file: string | undefined, options: SimulateOptions): Promise<void> {
  const plan = rolloutPlan(file === undefined ? '' : await textOf(file), file ?? 'default plan');
  const log = options.log === undefined ? undefined : await predictionsOf(options.log);
  const [stableErrorRate, canaryErrorRate] = options.error;
  const labelsWith = (scoreNoise: number) =>
    options.positiveRate === undefined && log === undefined
      ? undefined
      : { positiveRate: options.positiveRate ?? 0.5, scoreNoise };
  checkQuality(plan, log, options);
  const changed = {
    stableErrorRate,
    canaryErrorRate,
    slowdown: options.slowdown,
    scoreShift: options.scoreShift,
    labels: labelsWith(options.scoreNoise),
  };
  const healthy = {
    stableErrorRate,
    canaryErrorRate: stableErrorRate,
    slowdown: 1,
    scoreShift: 0,
    labels: labelsWith(0),
  };
  const rows = ruleNames.map((rule) => ({
    rule,
    healthy: play(plan, healthy, log, options, rule),
    changed: play(plan, changed, log, options, rule),
  }));
  if (options.json) return printJson({ plan, traffic: changed, rules: rows });
  const table = new Table({
    head: ['rule', 'healthy: false rollback', 'promoted', 'changed: rolled back', 'promoted', 'detected, half', '90 %'],
    style: { head: [], border: [] },
  });
  for (const row of rows)
    table.push([
      row.rule,
      percent(row.healthy.rolledBack),
      percent(row.healthy.promoted),
      percent(row.changed.rolledBack),
      percent(row.changed.promoted),
      secondsText(row.changed.detectSP50),
      secondsText(row.changed.detectSP90),
    ]);
  process.stdout.write(`${table.toString()}\n`);
}

function play(
  plan: RolloutPlan,
  regression: Regression,
  log: readonly LoggedPrediction[] | undefined,
  { requestsPerS, runs, hours, seed }: SimulateOptions,
  rule: SimulationResult['rule'],
): SimulationResult {
  const seconds = Math.ceil(hours * 3_600);
  const traffic = log ? loggedTraffic(log, seconds, regression) : syntheticTraffic(requestsPerS, seconds, regression);
  return simulate(plan, traffic, { rule, runs: Math.ceil(runs), seed });
}

const logged = z.object({
  predicted_us: z.coerce.number().int(),
  // ClickHouse's JSON has null in place of NaN
  score: z.number().nullable(),
  latency_ms: z.number().nonnegative().optional(),
  error: z.boolean().optional(),
  outcome: z.boolean().optional(),
});

async function predictionsOf(file: string): Promise<LoggedPrediction[]> {
  const lines = (await textOf(file)).split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0 || lines.length > rowsMax)
    throw new MeshError('INVALID_ARGUMENT', `${file} has ${lines.length} predictions; give 1 to ${rowsMax}`, { file });
  return lines.map((line, index) => {
    const parsed = logged.safeParse(jsonOf(line));
    if (!parsed.success)
      throw new MeshError(
        'INVALID_ARGUMENT',
        `${file}:${index + 1}: ${z.prettifyError(parsed.error).replace(/\s+/g, ' ')}`,
        { file, line: index + 1 },
      );
    const { predicted_us: predictedUs, score, latency_ms: latencyMs, error, outcome } = parsed.data;
    return { predictedUs, score: score ?? Number.NaN, latencyMs, isError: error ?? false, outcome };
  });
}

/** A guardrail that can see nothing would let nothing be promoted, and say nothing of why. */
function checkQuality(
  { guardrails }: RolloutPlan,
  log: readonly LoggedPrediction[] | undefined,
  { positiveRate, scoreNoise }: SimulateOptions,
): void {
  const hasOutcomes = log ? log.some(({ outcome }) => outcome !== undefined) : positiveRate !== undefined;
  const remedy = log ? 'give the logged predictions an "outcome"' : 'give --positive-rate';
  if (!hasOutcomes && guardrails.some(({ kind }) => kind === 'quality'))
    throw new MeshError('INVALID_ARGUMENT', `the plan's guardrail "quality" needs outcomes; ${remedy}`, {
      guardrail: 'quality',
    });
  if (!hasOutcomes && scoreNoise !== 0)
    throw new MeshError('INVALID_ARGUMENT', `--score-noise shows in outcomes alone; ${remedy}`, { scoreNoise });
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

async function textOf(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause) => {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `"${file}" cannot be read: ${(cause as Error).message}`,
      { file },
      { cause },
    );
  });
}

function errorRates(text: string): readonly [number, number] {
  const [stable = Number.NaN, canary = Number.NaN, ...rest] = text.split(':').map(Number);
  const isRate = (rate: number) => rate >= 0 && rate < 1;
  if (rest.length > 0 || !isRate(stable) || !isRate(canary))
    throw new InvalidArgumentError('write two rates in [0, 1), as in 0.005:0.01');
  return [stable, canary];
}

function rateOf(text: string): number {
  const rate = Number(text);
  if (!(rate > 0 && rate < 1)) throw new InvalidArgumentError('write a share between 0 and 1');
  return rate;
}

function numberOf(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('write a number');
  return value;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function secondsText(seconds: number): string {
  return Number.isFinite(seconds) ? `${seconds} s` : 'never';
}
