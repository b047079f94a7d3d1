import type { inference } from '@millrace/contracts';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, printJson, withServices } from './context.ts';

/** `millrace model quality` */
export function addModelQualityCommand(model: Command): void {
  model
    .command('quality <deployment>')
    .description('how predictions of each model version, and of its segments, compare with their outcomes so far')
    .action((deployment: string, _options, self: Command) => quality(deployment, self.optsWithGlobals()));
}

function quality(deployment: string, options: CommonOptions): Promise<void> {
  return withServices(options, async (services) => {
    const answer = await services.predictions().getQuality({ deployment });
    if (options.json) return printJson(answer);
    const head = [
      'model',
      'segment',
      'outcomes',
      'of',
      'AUC',
      'log loss',
      'Brier',
      'calibration',
      'RMSE',
      'MAE',
      'positive',
    ];
    const table = new Table({ head, style: { head: [], border: [] } });
    for (const one of answer.models) {
      table.push([`${one.model}@${one.modelVersion}`, '', ...figures(one)]);
      for (const segment of one.segments) table.push(['', `${segment.column}=${segment.value}`, ...figures(segment)]);
    }
    process.stdout.write(`${table.toString()}\n`);
  });
}

function figures(of: inference.ModelQuality | inference.SegmentQuality): string[] {
  const values = [of.auc, of.logLoss, of.brier, of.calibrationError, of.rmse, of.mae, of.positiveRate];
  return [
    String(of.outcomes),
    String(of.predictions),
    ...values.map((value) => (Number.isNaN(value) ? '' : value.toFixed(4))),
  ];
}
