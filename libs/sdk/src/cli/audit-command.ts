import type { audit as contract } from '@millrace/contracts';
import { MeshError, parseDurationUs } from '@millrace/kernel';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, positive, printJson, withServices } from './context.ts';

interface AuditOptions extends CommonOptions {
  readonly kind?: string;
  readonly action?: string;
  readonly by?: string;
  readonly since?: string;
  readonly until?: string;
  readonly limit: number;
}

export function addAuditCommand(program: Command): void {
  program
    .command('audit')
    .description('what was decided: by whom, when and why; blocks of sources, replays of quarantine, rollouts')
    .argument('[name]', 'of a source or a deployment; all unless given')
    .option('--kind <kind>', 'source, quarantine or rollout')
    .option('--action <action>', 'as block, resume, replay, promote')
    .option('--by <who>', 'a person, or what decided by itself, as expectation or evidence')
    .option('--since <time>', 'as 2026-01-31T12:00:00Z, or how long ago, as 24h')
    .option('--until <time>', 'as since')
    .option('--limit <n>', 'how many, newest first, at most 1,000', positive, 100)
    .action((name: string | undefined, _options, command: Command) => list(name ?? '', command.optsWithGlobals()));
}

async function list(name: string, options: AuditOptions): Promise<void> {
  await withServices(options, async (services) => {
    const { kind = '', action = '', by = '', since, until, limit } = options;
    const times = { sinceUs: timeUs(since), untilUs: timeUs(until) };
    const answer = await services.audit().listAudit({ kind, name, action, by, ...times, limit: Math.floor(limit) });
    if (options.json) return printJson({ ...answer, entries: answer.entries.map(shown) });
    if (answer.entries.length === 0) {
      process.stdout.write('nothing of this was decided\n');
      return;
    }
    const table = new Table({
      head: ['when', 'what', 'action', 'by', 'why'],
      style: { head: [], border: [] },
      colWidths: [null, null, null, null, 80],
      wordWrap: true,
    });
    for (const entry of answer.entries)
      table.push([
        new Date(Number(entry.atUs / 1000n)).toISOString(),
        `${entry.kind} ${entry.name}`,
        entry.action,
        entry.by,
        entry.reason,
      ]);
    process.stdout.write(`${table.toString()}\n`);
    const last = answer.entries.at(-1);
    if (answer.isPartial && last)
      process.stdout.write(`more: --until ${new Date(Math.ceil(Number(last.atUs) / 1000)).toISOString()}\n`);
  });
}

function shown({ detailJson, ...entry }: contract.AuditEntry) {
  return { ...entry, detail: JSON.parse(detailJson || '{}') as unknown };
}

function timeUs(text: string | undefined): bigint {
  if (text === undefined) return 0n;
  const timeMs = Date.parse(text);
  if (!Number.isNaN(timeMs)) return BigInt(timeMs) * 1000n;
  try {
    return BigInt(Date.now()) * 1000n - BigInt(parseDurationUs(text));
  } catch {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `"${text}" is neither a time (2026-01-31T12:00:00Z) nor how long ago (24h)`,
      {
        time: text,
      },
    );
  }
}
