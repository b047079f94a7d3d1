import { type definitions, registry } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { loadDefinitions } from '../define/load.ts';
import { type CommonOptions, printJson, withServices } from './context.ts';

const kinds = {
  entity: registry.DefinitionKind.ENTITY,
  source: registry.DefinitionKind.SOURCE,
  feature_view: registry.DefinitionKind.FEATURE_VIEW,
  feature_service: registry.DefinitionKind.FEATURE_SERVICE,
  model: registry.DefinitionKind.MODEL,
  deployment: registry.DefinitionKind.DEPLOYMENT,
} as const;

const actionMarks: Readonly<Record<number, string>> = {
  1: '+ added',
  2: '~ changed',
  3: '~ metadata',
  4: '  unchanged',
  5: '- removed',
};

interface ChangeOptions extends CommonOptions {
  readonly remove?: readonly string[];
  readonly allowBreaking?: boolean;
}

export function addRegistryCommands(program: Command): void {
  program
    .command('plan')
    .description('say what applying definitions would change; changes nothing')
    .argument('[paths...]', 'TypeScript or YAML files, or folders of them')
    .option('--remove <kind/name...>', 'definitions to remove, as feature_view/spend')
    .action((paths: string[], _options, command: Command) => plan(paths, command.optsWithGlobals()));
  program
    .command('apply')
    .description('apply definitions, all or none')
    .argument('[paths...]', 'TypeScript or YAML files, or folders of them')
    .option('--remove <kind/name...>', 'definitions to remove, as feature_view/spend')
    .option('--allow-breaking', 'go on although consumers break')
    .action((paths: string[], _options, command: Command) => apply(paths, command.optsWithGlobals()));
  program
    .command('list')
    .description('list current definitions')
    .argument('[kind]', Object.keys(kinds).join(', '))
    .action((kind: string | undefined, _options, command: Command) => list(kind, command.optsWithGlobals()));
  program
    .command('show')
    .description('show one definition')
    .argument('<kind>', Object.keys(kinds).join(', '))
    .argument('<name>')
    .option('--version-id <version>', 'a version; the current one unless set')
    .action((kind: string, name: string, _options, command: Command) => show(kind, name, command.optsWithGlobals()));
}

async function plan(paths: readonly string[], options: ChangeOptions): Promise<void> {
  await withServices(options, async (services) => {
    const response = await services.registry().plan(await changesOf(paths, options));
    if (options.json) printJson(response);
    else {
      printChanges(response.changes);
      for (const problem of response.problems)
        process.stderr.write(`${problem.file}: ${problem.definition}: ${problem.field}: ${problem.message}\n`);
    }
    if (response.problems.length > 0) process.exitCode = 1;
  });
}

async function apply(paths: readonly string[], options: ChangeOptions): Promise<void> {
  await withServices(options, async (services) => {
    const changes = await changesOf(paths, options);
    const response = await services.registry().apply({ ...changes, allowBreaking: options.allowBreaking ?? false });
    if (options.json) printJson(response);
    else {
      printChanges(response.changes);
      process.stdout.write(`applied at registry revision ${response.revision}\n`);
    }
  });
}

async function changesOf(paths: readonly string[], { remove = [] }: ChangeOptions) {
  const definitions = await loadDefinitions(paths);
  if (definitions.length === 0 && remove.length === 0) {
    const looked = paths.length === 0 ? 'no files named' : `no definitions in ${paths.join(', ')}`;
    throw new MeshError(
      'INVALID_ARGUMENT',
      `${looked}; name TypeScript modules that export definitions, or YAML files, or what to --remove`,
      { paths: paths.join(' ') },
    );
  }
  return { definitions, removals: [...remove] };
}

async function list(kind: string | undefined, options: CommonOptions): Promise<void> {
  await withServices(options, async (services) => {
    const { registered } = await services.registry().listDefinitions({ kind: kind === undefined ? 0 : kindOf(kind) });
    if (options.json) return printJson(registered);
    const table = new Table({
      head: ['kind', 'name', 'version', 'owner', 'description'],
      style: { head: [], border: [] },
    });
    for (const { definition, version } of registered) {
      table.push([
        kindName(definition),
        definition?.name ?? '',
        version,
        definition?.metadata?.owner ?? '',
        definition?.metadata?.description ?? '',
      ]);
    }
    process.stdout.write(
      registered.length === 0 ? 'nothing is defined yet; try: millrace apply <file>\n' : `${table.toString()}\n`,
    );
  });
}

async function show(
  kind: string,
  name: string,
  options: CommonOptions & { readonly versionId?: string },
): Promise<void> {
  await withServices(options, async (services) => {
    const { registered } = await services
      .registry()
      .getDefinition({ kind: kindOf(kind), name, version: options.versionId ?? '' });
    if (options.json) printJson(registered);
    else
      process.stdout.write(
        `${JSON.stringify(registered, (_key, value) => (typeof value === 'bigint' ? Number(value) : value instanceof Map ? Object.fromEntries(value) : value), 2)}\n`,
      );
  });
}

function printChanges(changes: readonly registry.Change[]): void {
  for (const change of changes) {
    const kind = Object.entries(kinds).find(([, value]) => value === change.kind)?.[0] ?? '?';
    const versions =
      change.oldVersion && change.oldVersion !== change.newVersion
        ? `${change.oldVersion} -> ${change.newVersion}`
        : change.newVersion;
    process.stdout.write(
      `${(actionMarks[change.action] ?? '?').padEnd(12)} ${kind} "${change.name}" ${versions}${change.needsBackfill ? '  needs backfill' : ''}\n`,
    );
    for (const difference of change.differences) process.stdout.write(`               ${difference}\n`);
    for (const { impact, field, what, against, affected } of change.schemaChanges) {
      const name = Object.entries(registry.SchemaImpact).find(([, value]) => value === impact)?.[0] ?? '?';
      const users = affected.length === 0 ? '' : `; used by ${affected.join(', ')}`;
      process.stdout.write(
        `             ${name.toLowerCase().replace('_', ' ')}: "${field}" ${what} (against ${against})${users}\n`,
      );
    }
    for (const broken of change.breaks) process.stdout.write(`             ! breaks ${broken}\n`);
  }
}

function kindOf(text: string): registry.DefinitionKind {
  const kind = (kinds as Readonly<Record<string, registry.DefinitionKind>>)[text.replaceAll('-', '_')];
  if (kind === undefined)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `"${text}" is not a kind of definition; use one of ${Object.keys(kinds).join(', ')}`,
      { kind: text },
    );
  return kind;
}

function kindName(definition: definitions.Definition | undefined): string {
  return (definition?.spec?.$case ?? '?').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
