import { definitions } from '@millrace/contracts';
import type { ViewDefinition } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { PlanBook } from '../app/plan-book.ts';
import { compilePlan } from '../domain/compile-plan.ts';
import type { Plan } from '../domain/plan.ts';
import type { RequestKey } from '../domain/request.ts';
import { checkCollisions, type FeatureNames, type FeatureRef, namesOfRefs, parseFeatureRef } from './feature-refs.ts';
import { jsonMetadata, protoMetadata, type ViewMetadata } from './metadata.ts';
import type { FeastRead } from './request.ts';

/** Feature views as the registry knows them. */
export interface ViewCatalog {
  /** A version of a view, the current one when empty. Throws UNKNOWN_FEATURE_VIEW. */
  view(name: string, version: string): ViewDefinition;
  /** The version that was applied `ordinal`-th, counted from 1; undefined when there is none. */
  versionAt(view: string, ordinal: number): string | undefined;
  /** The inverse of `versionAt`; 0 when it is not known. */
  ordinalOf(view: string, version: string): number;
  refresh(): Promise<void>;
}

/** The metadata of an answer: it is the same for all requests of one shape. */
export type FeastHead = { readonly json: Buffer; readonly proto: Buffer };

export type FeastEntry = {
  readonly plan: Plan;
  /** Throws when two features would have the same name. */
  head(request: FeastRead, keys: readonly RequestKey[]): FeastHead;
};

export type FeastBook = {
  current(request: FeastRead): FeastEntry | undefined;
  /** Compiles what is not there yet. Throws UNKNOWN_FEATURE_SERVICE, UNKNOWN_FEATURE_VIEW and the like. */
  load(request: FeastRead): Promise<FeastEntry>;
  /** Forgets compiled lists: the registry has changed. */
  clear(): void;
};

/** Distinct lists of features that stay compiled; the one used longest ago leaves first. */
const listsMax = 128;
const featuresMax = 1024;
const headsMax = 64;
/** No feature service can have this name: it stands in metrics and messages for lists of features. */
const listName = '(list of features)';

/** Plans for Feast's requests: those of feature services, and one for each distinct list of features. */
export function createFeastBook(deps: { readonly plans: PlanBook; readonly catalog: ViewCatalog }): FeastBook {
  const { plans, catalog } = deps;
  const lists = new Map<string, { readonly features: number; readonly entry: FeastEntry }>();
  const services = new WeakMap<Plan, FeastEntry>();

  function serviceEntry(plan: Plan): FeastEntry {
    let entry = services.get(plan);
    if (!entry) {
      entry = entryOf(plan, namesOfPlan(plan), catalog);
      services.set(plan, entry);
    }
    return entry;
  }

  function compileList(features: readonly string[]): FeastEntry {
    const refs = features.map(parseFeatureRef);
    return entryOf(compileRefs(refs, catalog), namesOfRefs(refs), catalog);
  }

  return {
    current({ featureService, features }) {
      if (featureService !== '') {
        const plan = plans.current(featureService, '');
        return plan && serviceEntry(plan);
      }
      const key = features.join('\n');
      const known = lists.get(key);
      if (!known || known.features !== features.length) return undefined;
      lists.delete(key);
      lists.set(key, known);
      return known.entry;
    },
    async load({ featureService, features }) {
      if (featureService !== '') return serviceEntry(await plans.load(featureService, ''));
      checkList(features);
      let entry: FeastEntry;
      try {
        entry = compileList(features);
      } catch (thrown) {
        // a reader may come right after a definition
        if (!(thrown instanceof MeshError && thrown.code === 5)) throw thrown;
        await catalog.refresh();
        entry = compileList(features);
      }
      lists.set(features.join('\n'), { features: features.length, entry });
      if (lists.size > listsMax) lists.delete(lists.keys().next().value ?? '');
      return entry;
    },
    clear: () => lists.clear(),
  };
}

function checkList(features: readonly string[]): void {
  if (features.length > 0 && features.length <= featuresMax) return;
  throw new MeshError(
    features.length === 0 ? 'INVALID_ARGUMENT' : 'LIMIT_EXCEEDED',
    features.length === 0
      ? 'the request names no features; set "feature_service", or list them in "features"'
      : `the request names ${features.length} features and the limit is ${featuresMax}`,
    { field: 'features', features: features.length, limit: featuresMax },
  );
}

function compileRefs(refs: readonly FeatureRef[], catalog: ViewCatalog): Plan {
  const features = refs.map(({ view, version, feature }) => {
    const definition = catalog.view(view, hashOf(catalog, view, version));
    const known = [...definition.features, ...(definition.derived ?? [])].map(({ name }) => name);
    if (!known.includes(feature)) {
      throw new MeshError(
        'UNKNOWN_DEFINITION',
        `feature view "${view}" has no feature "${feature}"; it has ${known.map((name) => `"${name}"`).join(', ')}`,
        { featureView: view, feature },
      );
    }
    return { view, feature, viewVersion: definition.version };
  });
  const spec = definitions.FeatureService.fromPartial({ features });
  return compilePlan({ name: listName, version: '', spec }, (view, version) => catalog.view(view, version));
}

/** Feast's `v2` is the second version of a view; anything else is a version of ours. */
function hashOf(catalog: ViewCatalog, view: string, version: string): string {
  const ordinal = /^v(\d{1,4})$/.exec(version)?.[1];
  if (ordinal === undefined) return version;
  return catalog.versionAt(view, Number(ordinal)) ?? version;
}

function namesOfPlan(plan: Plan): FeatureNames {
  return {
    full: plan.features.map(({ name }) => name),
    // an alias is the name that the service gives
    short: plan.features.map(({ name, view }) => {
      const prefix = `${plan.views[view]?.name}__`;
      return name.startsWith(prefix) ? name.slice(prefix.length) : name;
    }),
  };
}

function entryOf(plan: Plan, names: FeatureNames, catalog: ViewCatalog): FeastEntry {
  const heads = new Map<string, FeastHead>();
  return {
    plan,
    head({ fullFeatureNames, viewMetadata }, keys) {
      let shape = `${fullFeatureNames}|${viewMetadata}`;
      for (const key of keys) shape += `|${key.name}`;
      let head = heads.get(shape);
      if (!head) {
        const features = fullFeatureNames ? names.full : names.short;
        checkCollisions(features, fullFeatureNames);
        const columns = [...keys.map(({ name }) => name), ...features];
        const views = viewMetadata ? viewsOf(plan, catalog) : [];
        head = { json: jsonMetadata(columns, views), proto: protoMetadata(columns, views) };
        if (heads.size >= headsMax) heads.clear();
        heads.set(shape, head);
      }
      return head;
    },
  };
}

function viewsOf(plan: Plan, catalog: ViewCatalog): ViewMetadata[] {
  return plan.views.map(({ name, version }) => ({ name, version: catalog.ordinalOf(name, version) }));
}
