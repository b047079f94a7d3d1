import { search } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, positive, printJson, withServices } from './context.ts';
import { rowsOf } from './matrix-rows.ts';
import { keyColumns } from './rows.ts';

const metrics = {
  cosine: search.DistanceMetric.COSINE,
  l2: search.DistanceMetric.L2,
  dot: search.DistanceMetric.DOT,
} as const;

interface SearchOptions extends CommonOptions {
  readonly vector?: string;
  readonly like?: readonly string[];
  readonly k: number;
  readonly metric: string;
  readonly filter?: string;
  readonly exact?: boolean;
}

export function addSearchCommand(program: Command): void {
  program
    .command('search')
    .description(
      'find the entities whose vector is nearest: millrace search items embedding --like item=a --filter "price < 20.0"',
    )
    .argument('<feature-service>')
    .argument('<feature>', "the vector feature's name in the service")
    .option('--vector <numbers>', 'the query, as a JSON array of numbers')
    .option('--like <name=value...>', 'the join keys of an entity whose vector is the query')
    .option('-k, --k <n>', 'how many hits at most', positive, 10)
    .option('--metric <name>', Object.keys(metrics).join(', '), 'cosine')
    .option('--filter <cel>', "CEL over the service's features and join keys")
    .option('--exact', 'look at every vector instead of asking the index')
    .action((service: string, feature: string, _options, command: Command) =>
      find(service, feature, command.optsWithGlobals()),
    );
}

async function find(featureService: string, feature: string, options: SearchOptions): Promise<void> {
  await withServices(options, async (services) => {
    const metric = metrics[options.metric as keyof typeof metrics];
    if (metric === undefined)
      throw new MeshError('INVALID_ARGUMENT', `there is no metric "${options.metric}"; use cosine, l2 or dot`, {});
    const { keys, distances, features, ...rest } = await services.search().searchFeatures({
      featureService,
      version: '',
      feature,
      vector: numbersOf(options.vector),
      entity: await keyColumns(services, options.like ?? []),
      k: options.k,
      metric,
      filter: options.filter ?? '',
      exact: options.exact ?? false,
    });
    const rows = features ? rowsOf(features) : [];
    const hits = rows.map((row, at) => ({
      entity: Object.fromEntries(
        keys.map(({ name, strings, int64s, bools }) => [name, strings[at] ?? int64s[at] ?? bools[at]]),
      ),
      distance: distances[at] ?? 0,
      features: row,
    }));
    if (options.json) return printJson({ hits, ...rest });
    const names = features?.features.filter(({ block }) => block !== 5).map(({ name }) => name) ?? [];
    const table = new Table({
      head: [...keys.map(({ name }) => name), 'distance', ...names],
      style: { head: [], border: [] },
    });
    for (const hit of hits)
      table.push([
        ...Object.values(hit.entity).map(String),
        hit.distance.toFixed(6),
        ...names.map((name) => String(hit.features[name]?.value ?? '')),
      ]);
    process.stdout.write(hits.length === 0 ? 'none found\n' : `${table.toString()}\n`);
  });
}

function numbersOf(text: string | undefined): number[] {
  if (text === undefined) return [];
  try {
    const numbers: unknown = JSON.parse(text);
    if (Array.isArray(numbers) && numbers.every((each) => typeof each === 'number')) return numbers;
  } catch {
    // said below
  }
  throw new MeshError('INVALID_ARGUMENT', '--vector is not a JSON array of numbers, such as [0.1,0.2]', {});
}
