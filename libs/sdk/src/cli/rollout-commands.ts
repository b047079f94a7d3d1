import { readFile } from 'node:fs/promises';
import type { rollouts as contract } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { planMessage } from '@millrace/rollouts';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { rolloutPlan } from '../define/rollout-plan.ts';
import { type CommonOptions, personName, printJson, withServices } from './context.ts';
import { addSimulateCommand } from './rollout-simulate.ts';

interface StartOptions extends CommonOptions {
  readonly model: string;
  readonly modelVersion: string;
  readonly plan?: string;
}

interface ControlOptions extends CommonOptions {
  readonly reason: string;
}

const actions = {
  promote: 'sends all traffic to the candidate now',
  rollback: 'sends no traffic to the candidate any more, in effect when the command returns',
  pause: 'keeps the share as it is; only a rollback by evidence still happens',
  resume: 'goes on deciding',
} as const;

export function addRolloutCommands(program: Command): void {
  const rollout = program.command('rollout').description('canaries that decide by evidence');
  rollout
    .command('start <deployment>')
    .description('sends a share of a deployment’s traffic to another model version, step by step')
    .requiredOption('--model <name>', 'the candidate’s model')
    .option('--model-version <version>', 'its version; the current one unless given', '')
    .option('--plan <file>', 'the plan as YAML; the default plan unless given')
    .action((deployment: string, _options, self: Command) => start(deployment, self.optsWithGlobals()));
  rollout
    .command('status <deployment>')
    .description('where the newest rollout stands, its evidence, and what was decided')
    .action((deployment: string, _options, self: Command) => status(deployment, self.optsWithGlobals()));
  for (const [action, says] of Object.entries(actions))
    rollout
      .command(`${action} <deployment>`)
      .description(says)
      .option('--reason <text>', 'why, for the audit', '')
      .action((deployment: string, _options, self: Command) => control(deployment, action, self.optsWithGlobals()));
  addSimulateCommand(rollout);
}

function start(deployment: string, options: StartOptions): Promise<void> {
  return withServices(options, async (services) => {
    const plan =
      options.plan === undefined ? undefined : planMessage(rolloutPlan(await textOf(options.plan), options.plan));
    const { model, modelVersion } = options;
    const answer = await services.rollouts().startRollout({ deployment, model, modelVersion, plan, by: personName() });
    show(answer.rollout, options);
  });
}

function status(deployment: string, options: CommonOptions): Promise<void> {
  return withServices(options, async (services) => {
    show((await services.rollouts().getRollout({ deployment })).rollout, options);
  });
}

function control(deployment: string, action: string, options: ControlOptions): Promise<void> {
  return withServices(options, async (services) => {
    const request = { deployment, action, by: personName(), reason: options.reason };
    show((await services.rollouts().controlRollout(request)).rollout, options);
  });
}

function show(rollout: contract.Rollout | undefined, options: CommonOptions): void {
  if (options.json) printJson(rollout);
  if (options.json || !rollout) return;
  const share = `${(100 * rollout.share).toFixed(2)} %`;
  process.stdout.write(
    `${rollout.deployment}: ${rollout.model} ${rollout.modelVersion} is ${rollout.status}, with ${share} of traffic\n`,
  );
  if (rollout.promotedAlias)
    process.stdout.write(`alias ${rollout.model}@${rollout.promotedAlias} points to it, for good\n`);
  const shadowing = shadowText(rollout);
  if (shadowing) process.stdout.write(`${shadowing}\n`);
  const latest = rollout.now ?? rollout.decisions.at(-1);
  const evidence = new Table({
    head: ['guardrail', 'verdict', 'candidate', 'stable', 'p worse', 'p beyond margin'],
    style: { head: [], border: [] },
  });
  for (const { guardrail, verdict, canary, stable, canaryLosses, stableLosses, pWorse, pGood } of latest?.evidence ??
    [])
    evidence.push([
      guardrail,
      verdict,
      countText(canary) || lossText(canaryLosses),
      countText(stable) || lossText(stableLosses),
      pWorse.toPrecision(2),
      pGood.toPrecision(2),
    ]);
  if (latest) process.stdout.write(`now: ${latest.action}, ${latest.reason}\n${evidence.toString()}\n`);
  for (const { decidedUs, by, action, reason, requests } of rollout.decisions)
    process.stdout.write(
      `${new Date(Number(decidedUs) / 1000).toISOString()} ${by}: ${action}, ${reason} (${requests} requests)\n`,
    );
}

function shadowText({ shadow, shadowShare }: contract.Rollout): string {
  if (!shadow) return '';
  const { pairs, disagreed, onlyCandidate, onlyStable, mcnemarP, meanDifference, p95Difference } = shadow;
  const share = pairs > 0 ? ` (${((100 * disagreed) / pairs).toFixed(2)} %)` : '';
  return [
    `shadow of ${(100 * shadowShare).toFixed(2)} %: disagrees on ${disagreed} of ${pairs} rows${share}, ${onlyCandidate} only above for the candidate, ${onlyStable} only for what serves (McNemar p ${mcnemarP.toPrecision(2)})`,
    `  |Δ| of scores: mean ${meanDifference.toPrecision(3)}, p95 ${p95Difference.toPrecision(3)}; time: ${shadow.candidateMs.toFixed(2)} ms, what serves ${shadow.stableMs.toFixed(2)} ms; failed ${shadow.failed}, dropped ${shadow.dropped}`,
  ].join('\n');
}

function countText(count: contract.RolloutCount | undefined): string {
  return count && count.trials > 0 ? `${count.hits} of ${count.trials}` : '';
}

function lossText(losses: contract.RolloutLosses | undefined): string {
  return losses && losses.count > 0 ? `loss ${losses.mean.toFixed(4)} of ${losses.count}` : '';
}

function textOf(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause) => {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `"${file}" cannot be read: ${(cause as Error).message}`,
      { file },
      { cause },
    );
  });
}
