import { type events, ingestion } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, personName, positive, printJson, withServices } from './context.ts';

interface FilterOptions extends CommonOptions {
  readonly reason?: string;
  readonly expectation?: string;
  readonly field?: string;
  readonly batch?: string;
}

interface ReplayOptions extends FilterOptions {
  readonly id?: readonly string[];
  readonly dryRun?: boolean;
  readonly why?: string;
}

interface FixOptions extends ReplayOptions {
  readonly set?: readonly string[];
  readonly unset?: readonly string[];
  readonly patch?: string;
  readonly newId?: string;
}

export function addQuarantineCommands(program: Command): void {
  const quarantine = program.command('quarantine').description('rejected events: list, explain, fix, replay');
  const filtered = (name: string, description: string) =>
    quarantine
      .command(name)
      .description(description)
      .option('--reason <reason>', 'only this reason, as EXPECTATION_FAILED')
      .option('--expectation <name>', 'only what failed this expectation')
      .option('--field <name>', 'only where this field is at fault')
      .option('--batch <id>', 'only what was set aside together with this batch');
  filtered('list', 'list rejected events, oldest first')
    .argument('[source]', 'all sources unless given')
    .option('--limit <n>', 'how many, at most 1,000', positive, 100)
    .option('--after <position>', 'only positions after this one', Number, 0)
    .action((source: string | undefined, _options, command: Command) => list(source ?? '', command.optsWithGlobals()));
  quarantine
    .command('explain')
    .description('say why an event was rejected, what would make it pass, and whether it would pass now')
    .argument('<quarantine-id>')
    .option('--source <name>', 'where to look; all sources unless given')
    .action((id: string, _options, command: Command) => explain(id, command.optsWithGlobals()));
  const replayed = (name: string, description: string) =>
    filtered(name, description)
      .argument('<source>')
      .option('--id <quarantine-id...>', 'only these events; checks of batches do not look at them again')
      .option('--dry-run', 'say what would happen, change nothing')
      .option('--why <text>', 'why, for the audit');
  replayed('fix', 'correct rejected events and publish them again, with their original times')
    .option('--set <field=value...>', 'a value as JSON, or as text where it is no JSON')
    .option('--unset <field...>', 'fields to remove')
    .option('--patch <json>', 'a JSON object that is merged into the fields (RFC 7396)')
    .option('--new-id <id>', 'a new event id, for one event')
    .action((source: string, _options, command: Command) => fix(source, command.optsWithGlobals()));
  replayed('replay', 'publish rejected events again as they are, after their source has changed').action(
    (source: string, _options, command: Command) => replay(source, command.optsWithGlobals(), {}),
  );
}

async function list(source: string, options: FilterOptions & { limit: number; after: number }): Promise<void> {
  await withServices(options, async (services) => {
    const { reason = '', expectation = '', field = '', batch, limit, after } = options;
    const response = await services
      .ingestion()
      .listQuarantine({ source, reason, expectation, field, batchId: batch, limit, afterPosition: BigInt(after) });
    if (options.json) return printJson({ total: response.total, events: response.events.map(shown) });
    if (response.events.length === 0) {
      process.stdout.write('quarantine has none of these\n');
      return;
    }
    const table = new Table({
      head: ['quarantine id', 'source', 'event id', 'reason', 'field', 'batch', 'what is wrong'],
      style: { head: [], border: [] },
      colWidths: [26, null, null, null, null, null, 60],
      wordWrap: true,
    });
    for (const event of response.events)
      table.push([
        event.quarantineId,
        event.source,
        event.eventId,
        event.reason,
        event.field,
        event.batchId ?? '',
        event.message,
      ]);
    process.stdout.write(`${table.toString()}\n`);
    const last = response.events.at(-1)?.position ?? 0n;
    if (response.events.length === limit) process.stdout.write(`more: --after ${last}\n`);
  });
}

function shown({ payload, ...event }: events.QuarantinedEvent) {
  return { ...event, payload: payload.toString('utf8') };
}

async function explain(quarantineId: string, options: CommonOptions & { readonly source?: string }): Promise<void> {
  await withServices(options, async (services) => {
    const { source = '' } = options;
    const answer = await services.ingestion().explainQuarantine({ source, quarantineId });
    const { event } = answer;
    if (event === undefined) throw new MeshError('INTERNAL', 'an explanation without an event');
    if (options.json) return printJson({ ...answer, event: shown(event) });
    const lines = [
      ['source', `${event.source}${event.sourceVersion === '' ? '' : `@${event.sourceVersion}`}`],
      ['event', event.eventId],
      [
        'event time',
        event.eventTimeUs === 0n ? 'in the payload' : new Date(Number(event.eventTimeUs / 1000n)).toISOString(),
      ],
      ['rejected', new Date(Number(event.quarantinedUs / 1000n)).toISOString()],
      ['reason', event.reason],
      ['expectation', answer.expectationJson || event.expectation],
      ['batch', event.batchId === undefined ? '' : `${event.batchId}, of ${event.batchEvents} events`],
      ['field', event.field],
      ['value', answer.valueJson],
      ['what is wrong', event.message],
      ['now', answer.wouldPass ? 'it would pass: millrace quarantine replay' : answer.message],
      ['remedy', answer.remedy],
      ['payload', event.payload.toString('utf8').slice(0, 1_000)],
    ];
    for (const [name = '', value = ''] of lines)
      if (value !== '') process.stdout.write(`${name.padEnd(14)} ${value}\n`);
  });
}

async function fix(source: string, options: FixOptions): Promise<void> {
  const patch: Record<string, unknown> = {};
  try {
    Object.assign(patch, parseObject(options.patch ?? '{}'));
    for (const pair of options.set ?? []) {
      const at = pair.indexOf('=');
      if (at < 1) throw new MeshError('INVALID_ARGUMENT', `"${pair}" is not field=value`, { pair });
      patch[pair.slice(0, at)] = jsonOrText(pair.slice(at + 1));
    }
    for (const field of options.unset ?? []) patch[field] = null;
    if (Object.keys(patch).length === 0 && options.newId === undefined)
      throw new MeshError('INVALID_ARGUMENT', 'nothing to correct; give --set, --unset, --patch or --new-id', {});
  } catch (thrown) {
    await withServices(options, () => Promise.reject(thrown));
    return;
  }
  await replay(source, options, patch);
}

async function replay(source: string, options: FixOptions, patch: Readonly<Record<string, unknown>>): Promise<void> {
  await withServices(options, async (services) => {
    const { reason = '', expectation = '', field = '', batch, id = [], dryRun = false, newId = '' } = options;
    const mergePatchJson = Object.keys(patch).length === 0 ? Buffer.alloc(0) : Buffer.from(JSON.stringify(patch));
    const totals = await services.ingestion().replayQuarantine(
      ingestion.ReplayQuarantineRequest.fromPartial({
        source,
        reason,
        expectation,
        field,
        quarantineIds: [...id],
        mergePatchJson,
        dryRun,
        newEventId: newId,
        batchId: batch,
        by: personName(),
        why: options.why,
      }),
    );
    if (totals.rejected > 0) process.exitCode = 1;
    if (options.json) return printJson(totals);
    const would = dryRun ? 'would be ' : '';
    process.stdout.write(
      `${totals.accepted} ${would}accepted, ${totals.duplicates} ${would}found to be duplicates, ${totals.rejected} ${dryRun ? 'would be rejected again' : 'rejected again, still in quarantine'}\n`,
    );
    for (const { quarantineId, message } of totals.rejections) process.stderr.write(`${quarantineId}: ${message}\n`);
  });
}

function parseObject(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch {
    // said below
  }
  throw new MeshError('INVALID_ARGUMENT', `--patch ${text} is not a JSON object`, { patch: text });
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
