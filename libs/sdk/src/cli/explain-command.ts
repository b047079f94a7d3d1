import type { inference } from '@millrace/contracts';
import { MeshError, toMeshError } from '@millrace/kernel';
import Table from 'cli-table3';
import { type Command, Option } from 'commander';
import { type CommonOptions, positive, printJson, type Services, withServices } from './context.ts';
import { predictData } from './data-commands.ts';
import { statusName } from './matrix-rows.ts';
import { keyColumns, parseTimeUs } from './rows.ts';

interface ExplainOptions extends CommonOptions {
  readonly data?: readonly string[];
  readonly row?: readonly string[];
  readonly asOf?: string;
  readonly history: boolean;
  readonly modelVersion: string;
  readonly method?: string;
  readonly output: string;
  readonly pairs?: number;
  readonly seed: number;
  readonly background?: readonly string[];
  readonly top: number;
}

export function addExplainCommand(program: Command): void {
  program
    .command('explain')
    .description(
      'how much each feature moves a prediction: millrace explain flight_delay origin=ATL --data distance=581',
    )
    .argument('<model>', 'a model, or a deployment')
    .argument('[keys...]', 'join keys as name=value; several rows as name=a,b,c')
    .option('--data <name=value...>', 'request data')
    .option('--row <values...>', 'a row of one value of each feature, 1.5,,3, in place of keys; empty is missing')
    .option('--as-of <time>', 'the read time, RFC 3339 or microseconds; now unless given')
    .option('--no-history', 'say OUT_OF_ROW for a time before the row instead of asking history')
    .option('--model-version <version>', 'the one that is served unless given', '')
    .addOption(
      new Option('--method <method>', 'exact where the trees are known unless given').choices(['exact', 'sampled']),
    )
    .option('--output <name>', 'sampled: the output tensor that is explained', '')
    .option('--pairs <n>', 'sampled: pairs of permutations for each row; more make smaller errors', positive)
    .option('--seed <n>', 'sampled: the same seed, the same values', Number, 0)
    .option('--background <values...>', 'sampled: rows of what features have that are not known, 1,2,3')
    .option('--top <n>', 'features that are shown, those that move most', positive, 20)
    .action((model: string, keys: string[], _options, command: Command) =>
      explain(model, keys, command.optsWithGlobals()),
    );
}

function explain(name: string, keys: readonly string[], options: ExplainOptions): Promise<void> {
  return withServices(options, async (services) => {
    const answer = await ask(services, name, await requestOf(services, keys, options));
    if (options.json) return printJson(answer);
    for (const model of answer.models) printModel(model, options.top);
  });
}

/** Of the model of that name, else of the deployment. */
async function ask(services: Services, name: string, request: Omit<inference.ExplainRequest, 'model' | 'deployment'>) {
  const client = services.predictions();
  try {
    return await client.explain({ ...request, model: name, deployment: '' });
  } catch (thrown) {
    if (toMeshError(thrown).reason !== 'UNKNOWN_MODEL' || request.modelVersion !== '') throw thrown;
    return await client.explain({ ...request, model: '', deployment: name }).catch((second) => {
      throw toMeshError(second).reason === 'UNKNOWN_DEPLOYMENT' ? thrown : second;
    });
  }
}

async function requestOf(services: Services, keys: readonly string[], options: ExplainOptions) {
  const rows = (options.row ?? []).map((row) => ({ values: valuesOf('--row', row) }));
  return {
    modelVersion: options.modelVersion,
    rows,
    keys: keys.length === 0 ? [] : await keyColumns(services, keys),
    requestData: predictData(options.data ?? []),
    asOfUs: options.asOf === undefined ? 0n : parseTimeUs(options.asOf),
    allowHistory: options.history,
    method: options.method ?? '',
    output: options.output,
    pairs: options.pairs ?? 0,
    seed: options.seed,
    background: (options.background ?? []).map((row) => ({ values: valuesOf('--background', row) })),
  };
}

function valuesOf(option: string, text: string): number[] {
  return text.split(',').map((part) => {
    const value = part.trim() === '' ? Number.NaN : Number(part);
    if (Number.isNaN(value) && part.trim() !== '')
      throw new MeshError('WRONG_TYPE', `${option} takes numbers between commas and "${part}" is none`, {
        value: part,
      });
    return value;
  });
}

function printModel(model: inference.ModelAttributions, top: number): void {
  const how =
    model.method === 'exact' ? 'exact (TreeSHAP)' : `sampled over ${model.pairs} pairs of permutations: ${model.note}`;
  process.stdout.write(`${model.model}@${model.modelVersion}, ${model.output}, ${how}\n`);
  for (const { row, features, statuses, outputs } of model.rows)
    for (const [at, output] of outputs.entries()) {
      const which = outputs.length === 1 ? '' : `, output ${output.label || at}`;
      const residual = `residual ${output.residual.toExponential(1)}`;
      process.stdout.write(`row ${row}${which}: base ${short(output.base)} → ${short(output.margin)} (${residual})\n`);
      const hasErrors = output.standardErrors.length > 0;
      const head = ['feature', 'value', 'attribution', ...(hasErrors ? ['± standard error'] : [])];
      const table = new Table({ head, style: { head: [], border: [] } });
      for (const index of largest(output.values).slice(0, top))
        table.push([
          model.featureNames[index] ?? String(index),
          featureText(features[index], statuses[index]),
          signed(output.values[index] ?? Number.NaN),
          ...(hasErrors ? [short(output.standardErrors[index] ?? Number.NaN)] : []),
        ]);
      process.stdout.write(`${table.toString()}\n`);
      const hidden = output.values.length - top;
      if (hidden > 0) process.stdout.write(`${hidden} more move it less; --top shows them\n`);
    }
}

function largest(values: readonly number[]): number[] {
  const size = (at: number) => Math.abs(values[at] ?? 0) || 0;
  return [...values.keys()].sort((a, b) => size(b) - size(a));
}

function featureText(value: number | undefined, status: number | undefined): string {
  const text = value === undefined || Number.isNaN(value) ? 'missing' : String(value);
  return status === undefined || statusName(status) === 'PRESENT' ? text : `${text} (${statusName(status)})`;
}

function signed(value: number): string {
  return value > 0 ? `+${short(value)}` : short(value);
}

function short(value: number): string {
  return value.toPrecision(5);
}
