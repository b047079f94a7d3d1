import type { inference } from '@millrace/contracts';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, positive, printJson, withServices } from './context.ts';

interface DriftOptions extends CommonOptions {
  readonly modelVersion: string;
  readonly top: number;
}

/** `millrace model drift` */
export function addDriftCommand(model: Command): void {
  model
    .command('drift <model>')
    .description(
      'how recent predictions differ from what the model was trained on; exit code 1 while an alert is raised',
    )
    .option('--model-version <version>', 'of this one; all that are watched unless given', '')
    .option('--top <n>', 'columns that are shown, those that moved most', positive, 20)
    .action((name: string, _options, self: Command) => drift(name, self.optsWithGlobals()));
}

function drift(model: string, options: DriftOptions): Promise<void> {
  return withServices(options, async (services) => {
    const { versions } = await services.predictions().getDrift({ model, modelVersion: options.modelVersion });
    if (versions.some(({ alerting }) => alerting)) process.exitCode = 1;
    if (options.json) return printJson({ versions });
    for (const version of versions) print(version, options.top);
  });
}

function print(of: inference.ModelDrift, top: number): void {
  const since = new Date(Number(of.alertingSinceUs / 1000n)).toISOString().slice(0, 19);
  const state = of.alerting
    ? `DRIFTING since ${since}`
    : of.rows < of.rowsMin
      ? `not judged below ${of.rowsMin} predictions`
      : 'as in training';
  process.stdout.write(
    `${of.model}@${of.modelVersion}: ${state}; ${of.rows} predictions in the window, ${of.outliers} outliers of ${of.rowsTotal}\n`,
  );
  const head = [
    'column',
    'signs',
    'PSI',
    'its limit',
    'JS',
    'KS',
    'mean shift (σ)',
    'missing',
    'detector',
    'share of PSI',
  ];
  const table = new Table({ head, style: { head: [], border: [] } });
  for (const column of of.columns.slice(0, top))
    table.push([
      column.name,
      column.signs.join(', '),
      ...[column.psi, column.psiLimit, column.jensenShannon, column.ks, column.meanShift].map(short),
      percent(column.missingShare),
      percent(column.cusum),
      percent(column.share),
    ]);
  process.stdout.write(`${table.toString()}\n`);
}

function short(value: number): string {
  return Number.isNaN(value) ? '' : value.toFixed(3);
}

function percent(value: number): string {
  return Number.isNaN(value) ? '' : `${(100 * value).toFixed(1)} %`;
}
