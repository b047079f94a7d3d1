import { loads } from '@millrace/contracts';
import Table from 'cli-table3';
import { type Command, Option } from 'commander';
import { type CommonOptions, positive, printJson, withServices } from './context.ts';
import { infer } from './infer.ts';
import { load, whenChangedNames } from './load.ts';
import { followLoad, loadLines, stateName } from './load-progress.ts';
import { addFileOptions, addMappingOptions } from './row-format.ts';

export function addLoadCommands(program: Command): void {
  addFileOptions(
    program
      .command('infer')
      .description('print a source definition for a file, ready to apply: CSV, NDJSON, JSON, Parquet, Arrow or Avro')
      .argument('<location>', 'a file, an http(s) URL or s3://bucket/key')
      .option('--name <source>', "the source's name; the file's unless given")
      .option('--rows <n>', 'rows to look at', positive, 100_000),
  ).action((location: string, _options, command: Command) => infer(location, command.optsWithGlobals()));
  addMappingOptions(
    addFileOptions(
      program
        .command('load')
        .description(
          'load a file, a folder, a glob, an http(s) URL or s3://bucket/prefix into a source, or what is new in its batch inputs',
        )
        .argument('<source>')
        .argument('[location]', "left out: the source's batch input")
        .option('--input <name>', 'the batch input, where the source has several')
        .option('--dry-run', 'show the columns and the first bad rows; publish nothing')
        .option('--rows <n>', 'rows that a dry run looks at', positive, 100_000),
    ),
  )
    .addOption(
      new Option(
        '--when-changed <policy>',
        'for a file that was read before with another content; new-rows unless given',
      ).choices(Object.keys(whenChangedNames)),
    )
    .option('--follow', 'watch until the load has ended; the default', true)
    .option('--no-follow', 'return at once; the load goes on')
    .action((source: string, location: string | undefined, _options, command: Command) =>
      load(source, location, command.optsWithGlobals()),
    );
  addLoadsCommands(program.command('loads').description('loads that wait, run or have ended, and what was read'));
}

function addLoadsCommands(group: Command): void {
  group
    .command('list')
    .description('list loads, newest first')
    .argument('[source]')
    .action((source: string | undefined, _options, command: Command) => list(source, command.optsWithGlobals()));
  group
    .command('show')
    .description('show one load')
    .argument('<load>')
    .option('--follow', 'watch until it has ended')
    .action((id: string, _options, command: Command) => show(id, command.optsWithGlobals()));
  group
    .command('cancel')
    .description('stop a load; what it has published stays')
    .argument('<load>')
    .action((id: string, _options, command: Command) => cancel(id, command.optsWithGlobals()));
  group
    .command('inputs')
    .description('the ledger: files, objects and tables that were read for a source, newest first')
    .argument('<source>')
    .option('--limit <n>', 'how many', positive, 100)
    .action((source: string, _options, command: Command) => inputs(source, command.optsWithGlobals()));
}

async function list(source: string | undefined, options: CommonOptions): Promise<void> {
  await withServices(options, async (services) => {
    const { loads: found } = await services.loads().listLoads({ source: source ?? '', limit: 0 });
    if (options.json) return printJson(found);
    const table = new Table({
      head: ['load', 'source', 'location', 'state', 'rows', 'accepted', 'duplicates', 'rejected'],
      style: { head: [], border: [] },
    });
    for (const one of found)
      table.push([
        one.loadId,
        one.source,
        one.location,
        stateName(one.state),
        ...[one.rows, one.accepted, one.duplicates, one.rejected].map(String),
      ]);
    process.stdout.write(
      found.length === 0 ? 'no loads yet; try: millrace load <source> <file>\n' : `${table.toString()}\n`,
    );
  });
}

async function show(loadId: string, options: CommonOptions & { readonly follow?: boolean }): Promise<void> {
  await withServices(options, async (services) => {
    const client = services.loads();
    const interrupt = new AbortController();
    process.once('SIGINT', () => interrupt.abort());
    const { load: found } = await client.getLoad({ loadId });
    if (found === undefined) return;
    const now = options.follow ? await followLoad(client, found, { ...options, interrupt: interrupt.signal }) : found;
    if (now.state === loads.LoadState.FAILED) process.exitCode = 1;
    print(now, options);
  });
}

async function cancel(loadId: string, options: CommonOptions): Promise<void> {
  await withServices(options, async (services) => {
    const { load: found } = await services.loads().cancelLoad({ loadId });
    if (found !== undefined) print(found, options);
  });
}

function print(one: loads.Load, options: CommonOptions): void {
  if (options.json) printJson(one);
  else process.stdout.write(`${loadLines(one).join('\n')}\n`);
}

async function inputs(source: string, options: CommonOptions & { readonly limit: number }): Promise<void> {
  await withServices(options, async (services) => {
    const { inputs: found, total } = await services.loads().listInputs({ source, limit: options.limit });
    if (options.json) return printJson({ inputs: found, total });
    const table = new Table({
      head: ['input', 'read', 'rows', 'accepted', 'duplicates', 'rejected', 'complete', 'changes'],
      style: { head: [], border: [] },
    });
    for (const one of found)
      table.push([
        one.uri,
        new Date(Number(one.readUs) / 1000).toISOString(),
        ...[one.rows, one.accepted, one.duplicates, one.rejected].map(String),
        one.done ? 'yes' : 'no',
        String(one.changes),
      ]);
    process.stdout.write(`${table.toString()}\n${found.length} of ${total}\n`);
  });
}
