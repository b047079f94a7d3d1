import { lineage } from '@millrace/contracts';
import type { Command } from 'commander';
import { type CommonOptions, positive, printJson, withServices } from './context.ts';

export function addLineageCommand(program: Command): void {
  program
    .command('lineage')
    .description('what a value is made of and what is made of it: millrace lineage feature:spend.sum_1h')
    .argument(
      '<node>',
      'source:…, field:<source>.<field>, feature_view:…, feature:<view>.<feature>, feature_service:…, model:…, deployment:… or prediction:<id>; the name alone where it is plain',
    )
    .option('--up', 'only what it is made of')
    .option('--down', 'only what is made of it')
    .option('--depth <n>', 'at most so many edges away', positive, 16)
    .action((node: string, _options, command: Command) => show(node, command.optsWithGlobals()));
}

interface LineageOptions extends CommonOptions {
  readonly up?: boolean;
  readonly down?: boolean;
  readonly depth: number;
}

type Answer = lineage.GetLineageResponse;

async function show(node: string, options: LineageOptions): Promise<void> {
  await withServices(options, async (services) => {
    const { BOTH, UPSTREAM, DOWNSTREAM } = lineage.Direction;
    const direction = options.up === options.down ? BOTH : options.up ? UPSTREAM : DOWNSTREAM;
    const answer = await services.lineage().getLineage({ node, direction, depth: Math.floor(options.depth) });
    if (options.json) return printJson(answer);
    const id = answer.node?.id ?? node;
    const lines = [`${label(answer, id)}`];
    if (direction !== DOWNSTREAM) lines.push('is made of', ...tree(answer, id, 'up', '  ', new Set([id])));
    if (direction !== UPSTREAM) lines.push('goes into', ...tree(answer, id, 'down', '  ', new Set([id])));
    if (answer.truncated) lines.push(`more lies beyond depth ${options.depth}; raise --depth`);
    process.stdout.write(`${[...lines, ...answer.notes].join('\n')}\n`);
  });
}

/** A node that was shown already is named again, but not what lies behind it. */
function tree(answer: Answer, id: string, direction: 'up' | 'down', indent: string, shown: Set<string>): string[] {
  const edges = answer.edges.filter((edge) => (direction === 'up' ? edge.to : edge.from) === id);
  const others = new Map<string, string[]>();
  for (const edge of edges) {
    const other = direction === 'up' ? edge.from : edge.to;
    others.set(other, [...(others.get(other) ?? []), edge.how]);
  }
  return [...others].flatMap(([other, how]) => {
    const line = `${indent}${label(answer, other)} (${how.join(', ')})`;
    if (shown.has(other)) return [line];
    shown.add(other);
    return [line, ...tree(answer, other, direction, `${indent}  `, shown)];
  });
}

function label({ nodes }: Answer, id: string): string {
  const node = nodes.find((each) => each.id === id);
  const version = node?.version && !id.includes('@') && !id.includes('(') ? ` ${node.version}` : '';
  return `${id}${version}${node?.detail ? `: ${node.detail}` : ''}`;
}
