import { ingestion } from '@millrace/contracts';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, positive, printJson, withServices } from './context.ts';

interface QualityOptions extends CommonOptions {
  readonly expectation?: string;
  readonly history?: boolean;
  readonly limit: number;
}

export function addQualityCommand(program: Command): void {
  program
    .command('quality')
    .description('what became of the expectations of a source; exit code 1 when the latest results do not all pass')
    .argument('<source>')
    .option('--expectation <name>', 'only this one')
    .option('--history', 'every interval, newest first; else the latest of each')
    .option('--limit <n>', 'how many results', positive, 100)
    .action((source: string, _options, command: Command) => quality(source, command.optsWithGlobals()));
}

const outcomeName = (outcome: number): string =>
  Object.entries(ingestion.ExpectationOutcome).find(([, value]) => value === outcome)?.[0] ?? '?';

async function quality(source: string, options: QualityOptions): Promise<void> {
  await withServices(options, async (services) => {
    const { expectation = '', limit, history = false } = options;
    const answer = await services
      .ingestion()
      .listExpectationResults({ source, expectation, afterUs: 0n, limit, latest: !history });
    const results = answer.results.map((result) => ({ ...result, outcome: outcomeName(result.outcome) }));
    if (!history && results.some(({ outcome }) => outcome !== 'PASS')) process.exitCode = 1;
    if (options.json) return printJson({ results, fitted: answer.fitted });
    if (results.length === 0) process.stdout.write('no interval has been judged yet\n');
    else {
      const head = ['expectation', 'check', 'outcome', 'interval', 'what was seen', 'bound'];
      const table = new Table({ head, style: { head: [], border: [] } });
      for (const result of results) {
        const interval = `${timeText(result.startUs)} – ${timeText(result.endUs).slice(11)}`;
        table.push([result.expectation, result.check, result.outcome, interval, result.message, result.bound]);
      }
      process.stdout.write(`${table.toString()}\n`);
    }
    for (const { field, version, rows, mean, median, stddev, fittedUs } of answer.fitted)
      process.stdout.write(
        `fitted ${field}@${version} to ${rows} values at ${timeText(fittedUs)}: mean ${mean}, median ${median}, deviation ${stddev}\n`,
      );
  });
}

function timeText(timeUs: bigint): string {
  return new Date(Number(timeUs / 1000n)).toISOString().slice(0, 19);
}
