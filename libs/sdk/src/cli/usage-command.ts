import { MeshError, type Reason } from '@millrace/kernel';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, positive, printJson, withServices } from './context.ts';

interface UsageOptions extends CommonOptions {
  readonly days: number;
  readonly unused?: boolean;
}

interface UsageAnswer {
  readonly since: string;
  readonly used: readonly {
    readonly view: string;
    readonly feature: string;
    readonly feature_service: string;
    readonly consumer: string;
    readonly requests: number;
    readonly rows: number;
    readonly last_read: string;
  }[];
  readonly unused: readonly { readonly view: string; readonly feature: string }[];
  readonly error?: { readonly reason: Reason; readonly message: string };
}

export function addUsageCommand(program: Command): void {
  program
    .command('usage')
    .description('who reads which feature, how much and when last; and which features nobody reads')
    .option('--days <n>', 'how far back', positive, 30)
    .option('--unused', 'only the features that nobody reads')
    .action((_options, command: Command) => usage(command.optsWithGlobals()));
}

async function usage(options: UsageOptions): Promise<void> {
  await withServices(options, async (services) => {
    const answer = await ask(services.endpoints().services['online-serving']?.http ?? '', options);
    if (options.json) return printJson(options.unused ? { since: answer.since, unused: answer.unused } : answer);
    if (!options.unused) {
      const table = new Table({
        head: ['view', 'feature', 'feature service', 'consumer', 'requests', 'rows', 'last read'],
        style: { head: [], border: [] },
      });
      for (const use of answer.used)
        table.push([
          use.view,
          use.feature,
          use.feature_service,
          use.consumer,
          String(use.requests),
          String(use.rows),
          use.last_read,
        ]);
      process.stdout.write(`${table.toString()}\n`);
    }
    process.stdout.write(`nobody has read since ${answer.since}: ${answer.unused.length} features\n`);
    for (const { view, feature } of answer.unused) process.stdout.write(`  ${view}:${feature}\n`);
  });
}

async function ask(address: string, { days, timeout }: UsageOptions): Promise<UsageAnswer> {
  const url = `http://${address}/v1/usage?days=${Math.ceil(days)}`;
  const response = await fetch(url, { signal: AbortSignal.timeout(timeout * 1000) }).catch((cause: unknown) => {
    throw new MeshError('SERVICE_UNAVAILABLE', `${url} does not answer`, { url }, { cause });
  });
  const answer = (await response.json()) as UsageAnswer;
  if (answer.error) throw new MeshError(answer.error.reason, answer.error.message);
  return answer;
}
