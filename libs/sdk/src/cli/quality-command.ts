import { ingestion } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, personName, positive, printJson, type Services, withServices } from './context.ts';

interface QualityOptions extends CommonOptions {
  readonly expectation?: string;
  readonly view?: boolean;
  readonly history?: boolean;
  readonly limit: number;
}

interface ResumeOptions extends CommonOptions {
  readonly expectation?: string;
  readonly replay?: boolean;
  readonly reason: string;
}

export function addQualityCommand(program: Command): void {
  const command = program
    .command('quality')
    .description(
      'what became of the expectations of a source or a feature view; exit code 1 when the latest results do not all pass',
    )
    .argument('<name>', 'a source, or a feature view when there is no such source')
    .option('--view', 'the feature view of that name, where a source has it too')
    .option('--expectation <name>', 'only this one')
    .option('--history', 'every interval, newest first; else the latest of each')
    .option('--limit <n>', 'how many results', positive, 100)
    .action((name: string, _options, self: Command) => quality(name, self.optsWithGlobals()));
  command
    .command('resume')
    .description('let the events of a source in again that an expectation has blocked')
    .argument('<source>')
    .option('--expectation <name>', 'only what this one blocks')
    .option('--replay', 'then publish what came over NATS meanwhile, and was set aside, with its original times')
    .option('--reason <text>', 'why, for the audit', '')
    .action((source: string, _options, self: Command) => resume(source, self.optsWithGlobals()));
}

const outcomeName = (outcome: number): string =>
  Object.entries(ingestion.ExpectationOutcome).find(([, value]) => value === outcome)?.[0] ?? '?';

async function quality(name: string, options: QualityOptions): Promise<void> {
  await withServices(options, async (services) => {
    if (options.view) return ofView(services, name, options);
    try {
      await ofSource(services, name, options);
    } catch (thrown) {
      if (!(thrown instanceof MeshError) || thrown.reason !== 'UNKNOWN_SOURCE') throw thrown;
      await ofView(services, name, options).catch((other) => {
        // where neither is known, it is the source that was asked for
        const isNoView =
          other instanceof MeshError && ['UNKNOWN_FEATURE_VIEW', 'SERVICE_UNAVAILABLE'].includes(other.reason);
        throw isNoView ? thrown : other;
      });
    }
  });
}

async function ofSource(services: Services, source: string, options: QualityOptions): Promise<void> {
  const { expectation = '', limit, history = false } = options;
  const answer = await services
    .ingestion()
    .listExpectationResults({ source, expectation, afterUs: 0n, limit, latest: !history });
  const results = answer.results.map((result) => ({ ...result, outcome: outcomeName(result.outcome) }));
  const { blocks } = answer;
  if (blocks.length > 0 || (!history && results.some(({ outcome }) => outcome !== 'PASS'))) process.exitCode = 1;
  if (options.json) return printJson({ results, fitted: answer.fitted, blocks });
  for (const block of blocks) process.stdout.write(`${blockText(block)}\n`);
  printResults(results);
  for (const { field, version, rows, mean, median, stddev, fittedUs } of answer.fitted)
    process.stdout.write(
      `fitted ${field}@${version} to ${rows} values at ${timeText(fittedUs)}: mean ${mean}, median ${median}, deviation ${stddev}\n`,
    );
}

async function resume(source: string, options: ResumeOptions): Promise<void> {
  await withServices(options, async (services) => {
    const { expectation = '', reason } = options;
    const by = personName();
    const { lifted, standing } = await services.ingestion().resumeSource({ source, expectation, by, reason });
    const again =
      options.replay && standing.length === 0
        ? await services
            .ingestion()
            .replayQuarantine(
              ingestion.ReplayQuarantineRequest.fromPartial({ source, reason: 'SOURCE_BLOCKED', by, why: reason }),
            )
        : undefined;
    if (standing.length > 0 || (again?.rejected ?? 0) > 0) process.exitCode = 1;
    if (options.json) return printJson({ lifted, standing, replayed: again });
    if (lifted.length === 0)
      process.stdout.write(`nothing to resume: no ${expectation || 'expectation'} blocks source "${source}"\n`);
    for (const block of lifted)
      process.stdout.write(
        `resumed source "${source}", blocked by "${block.expectation}" since ${timeText(block.blockedUs)}\n`,
      );
    for (const block of standing) process.stdout.write(`${blockText(block)}\n`);
    if (again)
      process.stdout.write(
        `replayed: ${again.accepted} accepted, ${again.duplicates} duplicates, ${again.rejected} rejected again\n`,
      );
    else if (lifted.length > 0 && standing.length === 0)
      process.stdout.write(
        `events that came over NATS meanwhile: millrace quarantine replay ${source} --reason SOURCE_BLOCKED\n`,
      );
  });
}

function blockText({
  source,
  expectation,
  blockedUs,
  resumesUs,
  startUs,
  endUs,
  message,
  bound,
}: ingestion.SourceBlock) {
  const end = resumesUs === 0n ? '' : `by itself at ${timeText(resumesUs)}, or with: `;
  return (
    `BLOCKED since ${timeText(blockedUs)} by "${expectation}" (${timeText(startUs)} – ${timeText(endUs).slice(11)}: ${message}, ` +
    `expected ${bound}); nothing of source "${source}" is accepted; resume ${end}millrace quality resume ${source}`
  );
}

async function ofView(services: Services, view: string, options: QualityOptions): Promise<void> {
  const { expectation = '', limit, history = false } = options;
  const answer = await services.featureQuality().listFeatureResults({ view, expectation, limit, latest: !history });
  const results = answer.results.map((result) => ({ ...result, outcome: outcomeName(result.outcome) }));
  if (!history && results.some(({ outcome }) => outcome !== 'PASS')) process.exitCode = 1;
  if (options.json) return printJson({ results });
  printResults(results);
}

function printResults(
  results: readonly (Pick<
    ingestion.ExpectationResult,
    'expectation' | 'check' | 'startUs' | 'endUs' | 'message' | 'bound'
  > & { readonly outcome: string })[],
): void {
  if (results.length === 0) {
    process.stdout.write('no interval has been judged yet\n');
    return;
  }
  const head = ['expectation', 'check', 'outcome', 'interval', 'what was seen', 'bound'];
  const table = new Table({ head, style: { head: [], border: [] } });
  for (const { expectation, check, outcome, startUs, endUs, message, bound } of results) {
    const interval =
      startUs === endUs ? `all rows at ${timeText(endUs)}` : `${timeText(startUs)} – ${timeText(endUs).slice(11)}`;
    table.push([expectation, check, outcome, interval, message, bound]);
  }
  process.stdout.write(`${table.toString()}\n`);
}

function timeText(timeUs: bigint): string {
  return new Date(Number(timeUs / 1000n)).toISOString().slice(0, 19);
}
