import type { compute } from '@millrace/contracts';
import Table from 'cli-table3';
import { type Command, InvalidArgumentError } from 'commander';
import { type CommonOptions, printJson, withServices } from './context.ts';

export function addParityCommand(program: Command): void {
  program
    .command('parity')
    .description('what the verifier has proved of served reads, and the values that history did not confirm')
    .option('--view <name>', 'only mismatches of this feature view', '')
    .option('--feature <name>', 'only mismatches of this feature', '')
    .option('--limit <n>', 'at most so many mismatches, newest first', limitOf, 20)
    .action((_options, command: Command) => parity(command.optsWithGlobals()));
}

interface ParityOptions extends CommonOptions {
  readonly view: string;
  readonly feature: string;
  readonly limit: number;
}

async function parity(options: ParityOptions): Promise<void> {
  await withServices(options, async (services) => {
    const { view, feature, limit } = options;
    const { mismatches, verifier } = await services.compute().listMismatches({ view, feature, limit });
    if (options.json) {
      return printJson({
        verifier,
        mismatches: mismatches.map((each) => ({
          ...each,
          served: each.served?.kind?.value ?? null,
          expected: each.expected?.kind?.value ?? null,
        })),
      });
    }
    if (verifier) process.stdout.write(`${verifierText(verifier)}\n`);
    if (mismatches.length === 0) {
      process.stdout.write('no mismatch within the last 30 days\n');
      return;
    }
    const table = new Table({
      head: ['found', 'feature', 'keys', 'as of', 'position', 'served', 'history says'],
      style: { head: [], border: [] },
    });
    for (const each of mismatches)
      table.push([
        timeText(each.foundUs),
        `${each.view}__${each.feature}`,
        [...each.keys].map(([name, value]) => `${name}=${value}`).join(' '),
        timeText(each.asOfUs),
        String(each.position),
        String(each.served?.kind?.value ?? 'null'),
        String(each.expected?.kind?.value ?? 'null'),
      ]);
    process.stdout.write(`${table.toString()}\n`);
  });
}

export function verifierText({ compared, mismatched, samplesWaiting, lagUs }: compute.VerifierStatus): string {
  return `verifier: ${compared} served values proved, ${mismatched} mismatched; ${samplesWaiting} rows wait, lag ${(Number(lagUs) / 1e6).toFixed(1)} s`;
}

function timeText(us: bigint): string {
  return new Date(Number(us / 1000n)).toISOString();
}

function limitOf(text: string): number {
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > 1_000)
    throw new InvalidArgumentError('write a number from 1 to 1000');
  return limit;
}
