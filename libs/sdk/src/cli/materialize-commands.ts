import { setTimeout as sleep } from 'node:timers/promises';
import { materialize } from '@millrace/contracts';
import { MeshError, parseDurationUs } from '@millrace/kernel';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, printJson, type Services, withServices } from './context.ts';
import { parseTimeUs } from './rows.ts';

const { MaterializationState } = materialize;
const pollMs = 500;

export function addMaterializeCommands(program: Command): void {
  program
    .command('materialize')
    .description(
      "write a feature view's values of every entity, as of each time of a past range, to a ClickHouse table",
    )
    .argument('<view>')
    .requiredOption('--from <time>', 'the first time, RFC 3339 or microseconds')
    .requiredOption('--to <time>', 'the end, exclusive')
    .option('--every <duration>', 'the distance between two times', '1h')
    .option('--version <version>', 'a version of the view; the current one unless given', '')
    .option('--detach', 'do not wait for the end')
    .option('--allow-failed-expectations', 'be done although rows fail expectations of features that block')
    .action((view: string, _options, command: Command) => start(view, command.optsWithGlobals()));
  program
    .command('materializations')
    .description('how far materializations have come')
    .option('--cancel <id>', 'stop one; what it has written stays')
    .action((_options, command: Command) => list(command.optsWithGlobals()));
}

interface StartOptions extends CommonOptions {
  readonly from: string;
  readonly to: string;
  readonly every: string;
  readonly version: string;
  readonly detach?: boolean;
  readonly allowFailedExpectations?: boolean;
}

async function start(view: string, options: StartOptions): Promise<void> {
  await withServices(options, async (services) => {
    const { version } = options;
    const fromUs = parseTimeUs(options.from);
    const toUs = parseTimeUs(options.to);
    const everyUs = BigInt(parseDurationUs(options.every));
    const client = services.materialize();
    const { allowFailedExpectations = false } = options;
    const asked = { view, version, fromUs, toUs, everyUs, allowFailedExpectations };
    let { materialization: job } = await client.materialize(asked);
    while (!options.detach && job && isRunning(job)) {
      if (!options.json) process.stderr.write(`${materializationText(job)}\n`);
      await sleep(pollMs);
      job = (await client.listMaterializations({ id: job.id })).materializations[0];
    }
    if (!job) throw new MeshError('UNKNOWN_DEFINITION', 'the materialization is gone', { view });
    if (job.state === MaterializationState.FAILED) throw new MeshError('INTERNAL', job.error, { id: job.id });
    if (options.json) printJson(materializationRecord(job));
    else process.stdout.write(`${materializationText(job)}\n`);
  });
}

async function list(options: CommonOptions & { readonly cancel?: string }): Promise<void> {
  await withServices(options, async (services) => {
    const jobs = await jobsOf(services, options.cancel);
    if (options.json) return printJson(jobs.map(materializationRecord));
    const table = new Table({
      head: ['id', 'view', 'starts', 'ends', 'state', 'rows', 'table'],
      style: { head: [], border: [] },
    });
    for (const job of jobs)
      table.push([
        job.id,
        `${job.view}@${job.version}`,
        timeText(job.fromUs),
        timeText(job.toUs),
        `${stateName(job)} ${share(job)}${job.error === '' ? '' : `: ${job.error}`}`,
        String(job.rows),
        job.table,
      ]);
    process.stdout.write(`${table.toString()}\n`);
  });
}

async function jobsOf(services: Services, cancel: string | undefined): Promise<materialize.Materialization[]> {
  const client = services.materialize();
  if (cancel === undefined) return (await client.listMaterializations({ id: '' })).materializations;
  const { materialization } = await client.cancelMaterialization({ id: cancel });
  return materialization ? [materialization] : [];
}

export function isRunning({ state }: materialize.Materialization): boolean {
  return state === MaterializationState.RUNNING;
}

export function materializationRecord(job: materialize.Materialization) {
  return { ...job, state: stateName(job) };
}

export function materializationText(job: materialize.Materialization): string {
  const left = job.leftUs > 0n ? `, about ${Math.ceil(Number(job.leftUs) / 1e6)} s left` : '';
  const error = job.error === '' ? '' : `; ${job.error}`;
  return `materialization ${job.id} of ${job.view}: ${stateName(job)} ${share(job)}, ${job.rows} rows in ${job.table}${left}${error}`;
}

function share({ shardsDone, shardsTotal }: materialize.Materialization): string {
  return shardsTotal === 0n ? '0 %' : `${Math.floor((Number(shardsDone) / Number(shardsTotal)) * 100)} %`;
}

function stateName({ state }: materialize.Materialization): string {
  return Object.entries(MaterializationState).find(([, value]) => value === state)?.[0] ?? 'UNKNOWN';
}

function timeText(us: bigint): string {
  return new Date(Number(us / 1000n)).toISOString();
}
