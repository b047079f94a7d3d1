import { MeshError } from '@millrace/kernel';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, printJson, withServices } from './context.ts';

interface RouteOptions extends CommonOptions {
  readonly header?: readonly string[];
  readonly data?: readonly string[];
  readonly parameter?: readonly string[];
  readonly predictionKey: string;
}

interface ExposureOptions extends CommonOptions {
  readonly deploymentVersion: string;
}

export function addDeploymentCommands(program: Command): void {
  const deployment = program.command('deployment').description('where requests go, and where they went');
  deployment
    .command('route')
    .description('where a request would go, and what each rule says of it: millrace deployment route fraud customer=7')
    .argument('<deployment>')
    .argument('[keys...]', 'join keys as name=value')
    .option('--header <name=value...>', 'metadata or HTTP headers')
    .option('--data <name=value...>', 'request data')
    .option('--parameter <name=value...>', 'parameters of the Open Inference Protocol, as text')
    .option('--prediction-key <key>', 'the prediction key', '')
    .action((name: string, keys: string[], _options, self: Command) => route(name, keys, self.optsWithGlobals()));
  deployment
    .command('exposures <deployment>')
    .description('how many units went where, by the exposure log, and whether they split as they should')
    .option('--deployment-version <version>', 'the current one unless given', '')
    .action((name: string, _options, self: Command) => exposures(name, self.optsWithGlobals()));
}

function route(deployment: string, keys: readonly string[], options: RouteOptions): Promise<void> {
  return withServices(options, async (services) => {
    const numbers = [...pairsOf(options.data ?? [])].map(([name, text]): [string, number] => {
      if (text.trim() === '' || Number.isNaN(Number(text)))
        throw new MeshError('INVALID_ARGUMENT', `request data "${name}" is "${text}"; write a number`, { name, text });
      return [name, Number(text)];
    });
    const answer = await services.deployments().explainRoute({
      deployment,
      headers: pairsOf(options.header ?? []),
      keys: pairsOf(keys),
      data: new Map(numbers),
      parameters: pairsOf(options.parameter ?? []),
      predictionKey: options.predictionKey,
    });
    if (options.json) return printJson(answer);
    const by = answer.rule ? `rule "${answer.rule}"` : answer.rollout ? `rollout ${answer.rollout}` : 'the weights';
    process.stdout.write(`unit "${answer.unit}" goes to ${answer.model} ${answer.modelVersion}, by ${by}\n`);
    const table = new Table({ head: ['rule', 'when', 'says'], style: { head: [], border: [] } });
    for (const { rule, when, matches, problem } of answer.rules)
      table.push([rule, when, matches ? 'matches' : problem || 'does not match']);
    if (answer.rules.length > 0) process.stdout.write(`${table.toString()}\n`);
  });
}

function exposures(deployment: string, options: ExposureOptions): Promise<void> {
  return withServices(options, async (services) => {
    const { deploymentVersion } = options;
    const answer = await services.deployments().getExposures({ deployment, deploymentVersion });
    if (options.json) return printJson(answer);
    process.stdout.write(`${deployment}, version ${answer.deploymentVersion}\n`);
    if (answer.groups.length === 0) process.stdout.write('no unit yet\n');
    for (const { rule, rollout, arms, movedUnits, sampleRatioP } of answer.groups) {
      const by = rule ? `rule "${rule}"` : rollout ? `rollout ${rollout}` : 'weights';
      const split = sampleRatioP < 1 ? `; split p ${sampleRatioP.toPrecision(2)}` : '';
      const moved = movedUnits > 0n ? `; ${movedUnits} units went to more than one` : '';
      process.stdout.write(`${by}${split}${moved}\n`);
      if (sampleRatioP < 0.001)
        process.stdout.write('  units do not split as the weights say: conclusions about these arms would be wrong\n');
      const table = new Table({
        head: ['model', 'version', 'units', 'share', 'should be', 'first'],
        style: { head: [], border: [] },
      });
      const total = arms.reduce((sum, { units }) => sum + Number(units), 0);
      for (const { model, modelVersion, units, expectedShare, firstUs } of arms)
        table.push([
          model,
          modelVersion,
          String(units),
          percent(Number(units) / total),
          expectedShare > 0 ? percent(expectedShare) : '',
          new Date(Number(firstUs) / 1000).toISOString(),
        ]);
      process.stdout.write(`${table.toString()}\n`);
    }
  });
}

const percent = (share: number) => `${(100 * share).toFixed(2)} %`;

/** `['a=b=c']` → a: "b=c". */
function pairsOf(pairs: readonly string[]): Map<string, string> {
  return new Map(
    pairs.map((pair): [string, string] => {
      const at = pair.indexOf('=');
      if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)];
      throw new MeshError('INVALID_ARGUMENT', `"${pair}" is no name=value`, { pair });
    }),
  );
}
