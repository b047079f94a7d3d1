import type { definitions } from '@millrace/contracts';
import { type Kind, kindOfSpec, targetsOf } from '@millrace/registry';
import type { Catalog } from './catalog.ts';
import { label, type Problem } from './problem.ts';

/** That a definition refers to another, and in which of its fields. */
export interface Reference {
  readonly field: string;
  readonly to: string;
}

/** The source that holds what a model predicted; its events follow from the model. */
const predictionsOf = /^predictions_(.+)$/;

/** A cycle of references through a definition of the set, told once, at the first of its definitions that the set has. */
export function cycleProblems(set: readonly definitions.Definition[], catalog: Catalog): Problem[] {
  const files = new Map(
    set.flatMap(({ name, spec, file }) => (spec ? [[pathOf(kindOfSpec(spec), name), file] as const] : [])),
  );
  const referencesOf = (path: string): readonly Reference[] => {
    const [kind, name] = splitPath(path);
    return references(kind, name, catalog);
  };
  return findCycles([...files.keys()], referencesOf).flatMap((cycle) => {
    const at = cycle.findIndex(({ from }) => files.has(from));
    const [first] = cycle.slice(at);
    if (at < 0 || !first) return [];
    const way = [...cycle.slice(at), ...cycle.slice(0, at), first].map(({ from }) => label(...splitPath(from)));
    return [
      {
        file: files.get(first.from) ?? '',
        definition: label(...splitPath(first.from)),
        field: first.field,
        message: `cycle: ${way.join(' -> ')}; take one of these references out`,
      },
    ];
  });
}

export interface Step {
  readonly from: string;
  /** The field of `from` that refers to the next. */
  readonly field: string;
}

/**
 * The cycles that a depth-first walk from `starts` closes: none exactly when there is none in reach. Each node and reference is visited
 * once, without recursion, since a chain of references may be as long as the registry.
 */
export function findCycles(
  starts: readonly string[],
  referencesOf: (node: string) => readonly Reference[],
): (readonly Step[])[] {
  const found: (readonly Step[])[] = [];
  const finished = new Set<string>();
  for (const start of starts) {
    const depths = new Map<string, number>();
    const walk: { readonly from: string; readonly references: readonly Reference[]; next: number }[] = [];
    const enter = (node: string) => {
      depths.set(node, walk.length);
      walk.push({ from: node, references: referencesOf(node), next: 0 });
    };
    if (!finished.has(start)) enter(start);
    for (let top = walk.at(-1); top !== undefined; top = walk.at(-1)) {
      const reference = top.references[top.next++];
      if (reference === undefined) {
        walk.pop();
        depths.delete(top.from);
        finished.add(top.from);
        continue;
      }
      const depth = depths.get(reference.to);
      if (depth !== undefined)
        found.push(
          walk.slice(depth).map(({ from, references: all, next }) => ({ from, field: all[next - 1]?.field ?? '' })),
        );
      else if (!finished.has(reference.to)) enter(reference.to);
    }
  }
  return found;
}

function references(kind: Kind, name: string, catalog: Catalog): Reference[] {
  switch (kind) {
    case 'entity':
      return [];
    case 'source': {
      const model = predictionsOf.exec(name)?.[1];
      return model !== undefined && catalog.model(model) ? [{ field: 'name', to: pathOf('model', model) }] : [];
    }
    case 'feature_view': {
      const { entity = '', source = '' } = catalog.featureView(name) ?? {};
      return [
        { field: 'entity', to: pathOf('entity', entity) },
        { field: 'source', to: pathOf('source', source) },
      ];
    }
    case 'feature_service':
      return (catalog.featureService(name)?.features ?? []).map(({ view }, index) => ({
        field: `features.${index}`,
        to: pathOf('feature_view', view),
      }));
    case 'model': {
      const { featureService = '', outcome } = catalog.model(name) ?? {};
      return [
        { field: 'feature_service', to: pathOf('feature_service', featureService) },
        { field: 'outcome.source', to: pathOf('source', outcome?.source ?? '') },
      ];
    }
    case 'deployment': {
      const deployment = catalog.deployment(name);
      return deployment
        ? targetsOf(deployment).map(({ field, target }) => ({ field, to: pathOf('model', target.model) }))
        : [];
    }
    default:
      return kind satisfies never;
  }
}

function pathOf(kind: Kind, name: string): string {
  return `${kind}/${name}`;
}

function splitPath(path: string): [Kind, string] {
  const at = path.indexOf('/');
  return [path.slice(0, at) as Kind, path.slice(at + 1)];
}
