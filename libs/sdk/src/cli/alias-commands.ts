import type { aliases as contract } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, personName, printJson, withServices } from './context.ts';

interface ChangeOptions extends CommonOptions {
  readonly reason: string;
}

interface HistoryOptions extends CommonOptions {
  readonly alias: string;
}

/** `millrace model alias …` */
export function addAliasCommands(model: Command): void {
  const alias = model
    .command('alias')
    .description('names that point to versions of a model, as champion and challenger');
  const reason = ['--reason <text>', 'why, for the audit', ''] as const;
  alias
    .command('set <model@alias> [version] [more...]')
    .description(
      'points an alias to a version: the current one, unless given; or to what another alias points to (@other). Several move at once: set fraud@champion @challenger fraud@challenger @champion',
    )
    .option(...reason)
    .action((first: string, version: string | undefined, more: string[], _options, self: Command) =>
      set([first, ...(version === undefined ? [] : [version]), ...more], self.optsWithGlobals()),
    );
  alias
    .command('list [model]')
    .description('where aliases point, since when, and where a rollback would go')
    .action((name: string | undefined, _options, self: Command) => list(name ?? '', self.optsWithGlobals()));
  alias
    .command('history <model>')
    .description('the last 200 changes of a model’s aliases')
    .option('--alias <name>', 'of this one only', '')
    .action((name: string, _options, self: Command) => history(name, self.optsWithGlobals()));
  alias
    .command('rollback <model@alias>')
    .description('points an alias to the version before; again, and it goes further back')
    .option(...reason)
    .action((name: string, _options, self: Command) =>
      change(
        name,
        self.optsWithGlobals(),
        async (services, request) => (await services.rollbackAlias(request)).aliases,
      ),
    );
  alias
    .command('delete <model@alias>')
    .description('forgets an alias; its history stays')
    .option(...reason)
    .action((name: string, _options, self: Command) =>
      change(name, self.optsWithGlobals(), async (services, request) => (await services.deleteAlias(request)).aliases),
    );
}

function set(words: readonly string[], options: ChangeOptions): Promise<void> {
  return withServices(options, async (services) => {
    const targets: contract.AliasTarget[] = [];
    let model = '';
    for (let at = 0; at < words.length; at += 2) {
      const named = namedBy(words[at] ?? '');
      if (model !== '' && named.model !== model)
        throw new MeshError(
          'INVALID_ARGUMENT',
          `aliases of "${model}" and "${named.model}" do not move at once; set them one after the other`,
          { model, other: named.model },
        );
      model = named.model;
      targets.push({ alias: named.alias, version: words[at + 1] ?? '' });
    }
    const request = { model, targets, by: personName(), reason: options.reason };
    show([(await services.aliases().setAliases(request)).aliases], options);
  });
}

type Client = ReturnType<Parameters<Parameters<typeof withServices>[1]>[0]['aliases']>;

function change(
  name: string,
  options: ChangeOptions,
  ask: (client: Client, request: contract.RollbackAliasRequest) => Promise<contract.ModelAliases | undefined>,
): Promise<void> {
  return withServices(options, async (services) => {
    const request = { ...namedBy(name), by: personName(), reason: options.reason };
    show([await ask(services.aliases(), request)], options);
  });
}

function list(model: string, options: CommonOptions): Promise<void> {
  return withServices(options, async (services) => {
    show((await services.aliases().listAliases({ model })).models, options);
  });
}

function history(model: string, options: HistoryOptions): Promise<void> {
  return withServices(options, async (services) => {
    const { changes } = await services.aliases().getAliasHistory({ model, alias: options.alias });
    if (options.json) return printJson(changes);
    for (const { changedUs, by, action, reason, moves } of changes) {
      const moved = moves.map(({ alias, from, to }) => `${alias} ${from || 'nowhere'} → ${to || 'nowhere'}`);
      const why = reason === '' ? '' : ` (${reason})`;
      process.stdout.write(`${timeOf(changedUs)} ${by}: ${action} ${moved.join(', ')}${why}\n`);
    }
  });
}

function namedBy(text: string): { readonly model: string; readonly alias: string } {
  const [model = '', alias = '', ...rest] = text.split('@');
  if (model !== '' && alias !== '' && rest.length === 0) return { model, alias };
  throw new MeshError('INVALID_ARGUMENT', `"${text}" names no alias; write <model>@<alias>, as fraud@champion`, {
    alias: text,
  });
}

function show(models: readonly (contract.ModelAliases | undefined)[], options: CommonOptions): void {
  const found = models.flatMap((one) => (one ? [one] : []));
  if (options.json) {
    printJson(found);
    return;
  }
  const table = new Table({
    head: ['alias', 'version', 'before', 'since', 'by'],
    style: { head: [], border: [] },
  });
  for (const { model, aliases } of found)
    for (const { alias, version, previousVersion, changedUs, by } of aliases)
      table.push([`${model}@${alias}`, version, previousVersion, timeOf(changedUs), by]);
  process.stdout.write(table.length === 0 ? 'no aliases\n' : `${table.toString()}\n`);
}

function timeOf(us: bigint): string {
  return new Date(Number(us) / 1000).toISOString();
}
