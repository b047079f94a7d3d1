import type { definitions } from '@millrace/contracts';
import type { ViewDefinition } from '@millrace/features';
import { MeshError, toMeshError } from '@millrace/kernel';
import { compilePlan } from '../domain/compile-plan.ts';
import type { Plan, PlannedView } from '../domain/plan.ts';

/** A feature service as the registry lists it. */
export type ListedService = {
  readonly name: string;
  readonly version: string;
  readonly previousVersions: readonly string[];
  readonly spec: definitions.FeatureService;
};

/** What the registry knows; versions are immutable, so answers never change. */
export interface DefinitionCatalog {
  listServices(): readonly ListedService[];
  /** Asks the registry again: a reader may come right after a definition. */
  refresh(): Promise<void>;
  /** An older version of a service; undefined when there is none. */
  service(name: string, version: string): Promise<ListedService | undefined>;
  /** A version of a view; an empty version means the current one. */
  view(name: string, version: string): Promise<ViewDefinition>;
  /** False while feature-compute still fills the version's windows; true where nobody tells. */
  isReady(view: string, version: string): boolean;
}

/** The compiled plan of every feature service, by name and version. */
export type PlanBook = {
  /** The plan, when it is compiled; an empty version means the current one. */
  current(name: string, version: string): Plan | undefined;
  /** Compiles an older version on its first use. Throws UNKNOWN_FEATURE_SERVICE. */
  load(name: string, version: string): Promise<Plan>;
  list(): readonly Plan[];
  /** Compiles what the catalog lists now and forgets what it no longer has; calls queue up. */
  refresh(): Promise<void>;
};

type Shelf = {
  readonly current: Plan | undefined;
  readonly byVersion: Map<string, Plan>;
  readonly problem?: MeshError;
};

export function createPlanBook(deps: {
  readonly catalog: DefinitionCatalog;
  readonly onProblem: (service: string, problem: MeshError) => void;
  /** A version does not answer yet, since a view of it is not filled. */
  readonly onWait?: (
    service: string,
    version: string,
    view: { readonly name: string; readonly version: string },
  ) => void;
}): PlanBook {
  const { catalog, onProblem, onWait = () => {} } = deps;
  let shelves: ReadonlyMap<string, Shelf> = new Map();
  let refreshing: Promise<void> = Promise.resolve();

  async function refresh(): Promise<void> {
    const next = new Map<string, Shelf>();
    for (const service of catalog.listServices()) {
      const known = shelves.get(service.name);
      const kept = new Map(
        [...(known?.byVersion ?? [])].filter(([version]) => service.previousVersions.includes(version)),
      );
      try {
        const plan = known?.byVersion.get(service.version) ?? (await compile(service));
        kept.set(plan.version, plan);
        const waitsFor = warming(plan);
        // a process that has just started has no plan that answered so far
        const held = known?.current ?? (waitsFor && (await lastReady(service, kept)));
        if (waitsFor && held && held.version !== plan.version) {
          // its windows are being filled: until then the version before it answers
          kept.set(held.version, held);
          next.set(service.name, { current: held, byVersion: kept });
          onWait(service.name, plan.version, waitsFor);
        } else next.set(service.name, { current: plan, byVersion: kept });
      } catch (thrown) {
        const problem = toMeshError(thrown, `could not compile feature service "${service.name}"`);
        onProblem(service.name, problem);
        // the last plan that worked goes on serving
        next.set(service.name, { current: known?.current, byVersion: kept, problem });
      }
    }
    shelves = next;
  }

  function warming(plan: Plan): PlannedView | undefined {
    return plan.views.find((view) => !catalog.isReady(view.name, view.version));
  }

  /** The latest version before the current one whose views are all filled. */
  async function lastReady(service: ListedService, kept: Map<string, Plan>): Promise<Plan | undefined> {
    for (const version of service.previousVersions) {
      try {
        const older = kept.get(version) ?? (await olderPlan(service.name, version));
        if (older && !warming(older)) return older;
      } catch {
        // a version whose views are gone cannot answer
      }
    }
    return undefined;
  }

  async function olderPlan(name: string, version: string): Promise<Plan | undefined> {
    const service = await catalog.service(name, version);
    return service && compile(service);
  }

  async function compile(service: ListedService): Promise<Plan> {
    const views = new Map<string, ViewDefinition>();
    for (const { view, viewVersion } of service.spec.features) {
      const key = `${view}@${viewVersion}`;
      if (!views.has(key)) views.set(key, await catalog.view(view, viewVersion));
    }
    return compilePlan(service, (view, version) => {
      const definition = views.get(`${view}@${version}`);
      if (!definition) throw new MeshError('UNKNOWN_FEATURE_VIEW', `feature view "${view}" is not known`, { view });
      return definition;
    });
  }

  function refreshInTurn(): Promise<void> {
    refreshing = refreshing
      .then(refresh)
      .catch((thrown: unknown) => onProblem('', toMeshError(thrown, 'could not follow the registry')));
    return refreshing;
  }

  return {
    current(name, version) {
      const shelf = shelves.get(name);
      return version === '' ? shelf?.current : shelf?.byVersion.get(version);
    },
    async load(name, version) {
      if (!shelves.has(name)) {
        await catalog.refresh();
        await refreshInTurn();
      }
      const shelf = shelves.get(name);
      if (!shelf) throw unknownService(name, [...shelves.keys()]);
      if (version === '' && shelf.current) return shelf.current;
      if (version === '') throw shelf.problem ?? unknownService(name, [...shelves.keys()]);
      const service = await catalog.service(name, version);
      if (!service) {
        throw new MeshError(
          'UNKNOWN_FEATURE_SERVICE',
          `feature service "${name}" has no version "${version}"; leave the version out to read the current one, "${shelf.current?.version ?? ''}"`,
          { featureService: name, version },
        );
      }
      const plan = await compile(service);
      shelf.byVersion.set(version, plan);
      return plan;
    },
    list() {
      return [...shelves.values()].flatMap((shelf) => (shelf.current ? [shelf.current] : []));
    },
    refresh: refreshInTurn,
  };
}

function unknownService(name: string, known: readonly string[]): MeshError {
  const some = known.slice(0, 10);
  const list =
    some.length > 0 ? `the registry has ${some.map((one) => `"${one}"`).join(', ')}` : 'the registry has none';
  return new MeshError(
    'UNKNOWN_FEATURE_SERVICE',
    `feature service "${name}" is not in the registry; ${list}${known.length > some.length ? ' and more' : ''}`,
    { featureService: name },
  );
}
