import type { definitions } from '@millrace/contracts';
import {
  compileRowReader,
  type FeatureType,
  type RowReader,
  type ViewDefinition,
  viewFeatureTypes,
} from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import { referenceName, resolveService, type ServiceShape } from '@millrace/registry';
import { derivedPlan } from './derived-plan.ts';
import { compileLookups } from './lookup-keys.ts';
import {
  Block,
  type Plan,
  type PlannedEntity,
  type PlannedFeature,
  type PlannedKey,
  type PlannedView,
} from './plan.ts';
import { blockOf, encodeFeatures, fallbackOf, staleActions, variableColumns } from './planned-feature.ts';
import { encodeField } from './wire.ts';

/** Compiles a feature service. `viewOf` finds the definition of a view's version. Throws INVALID_DEFINITION. */
export function compilePlan(
  service: { readonly name: string; readonly version: string; readonly spec: definitions.FeatureService },
  viewOf: (view: string, version: string) => ViewDefinition,
): Plan {
  const shape = resolveService(service.name, service.spec, viewOf);
  const reads = compileReads(service, shape, viewOf);
  return isPlain(shape) ? reads : derivedPlan(reads, shape);
}

/** What is read is what is answered. */
function isPlain({ steps, requestFields, reads, outputs }: ServiceShape): boolean {
  return steps.length === 0 && requestFields.length === 0 && outputs.length === reads.length;
}

function compileReads(
  service: { readonly name: string; readonly version: string },
  shape: ServiceShape,
  viewOf: (view: string, version: string) => ViewDefinition,
): Plan {
  const drafts = new Map<string, ViewDraft>();
  const columns = { [Block.DOUBLES]: 0, [Block.INT64S]: 0, [Block.STRINGS]: 0, [Block.LISTS]: 0, [Block.VECTORS]: 0 };
  const features = shape.reads.map((reference, position): PlannedFeature => {
    const lookup = shape.lookupOfRead[position] ?? -1;
    const draftKey = `${reference.view}@${reference.viewVersion}#${lookup}`;
    let draft = drafts.get(draftKey);
    if (!draft) {
      const definition = viewOf(reference.view, reference.viewVersion);
      draft = {
        definition,
        types: viewFeatureTypes(definition),
        reader: compileRowReader(definition),
        index: drafts.size,
        lookup,
      };
      drafts.set(draftKey, draft);
    }
    const featureIndex = draft.definition.features.findIndex((feature) => feature.name === reference.feature);
    const type = draft.types[featureIndex];
    if (type === undefined) {
      throw new MeshError(
        'INVALID_DEFINITION',
        `feature service "${service.name}" names feature "${reference.feature}", which feature view "${reference.view}" does not have`,
        { featureService: service.name, featureView: reference.view, feature: reference.feature },
      );
    }
    const block = blockOf(type);
    return {
      name: referenceName(reference),
      type,
      position,
      view: draft.index,
      featureIndex,
      block,
      column: columns[block]++,
      movesWithTime: draft.reader.movesWithTime(featureIndex),
      fallback: reference.defaultValue ? fallbackOf(reference.defaultValue) : null,
      maxAgeUs: reference.maxAgeUs > 0n ? Number(reference.maxAgeUs) : Number.POSITIVE_INFINITY,
      staleAction: staleActions[reference.staleAction],
    };
  });
  const { keys, entities, entityOfView } = planEntities([...drafts.values()].filter(({ lookup }) => lookup < 0));
  const views = [...drafts.values()].map(({ definition, reader, index }): PlannedView => {
    const own = features.filter((feature) => feature.view === index);
    return {
      name: definition.name,
      version: definition.version,
      entity: entityOfView.get(index) ?? -1,
      definition,
      reader,
      features: own,
      maxAgeUsMin: Math.min(...own.map((feature) => feature.maxAgeUs)),
      wireHead: Buffer.concat([
        encodeField(1, Buffer.from(definition.name)),
        encodeField(2, Buffer.from(definition.version)),
      ]),
    };
  });
  const plan: Plan = {
    name: service.name,
    version: service.version,
    features,
    views,
    entities,
    keys,
    doubles: columns[Block.DOUBLES],
    int64s: columns[Block.INT64S],
    strings: columns[Block.STRINGS],
    ...variableColumns(features),
    wireFeatures: encodeFeatures(features),
    wireVersion: encodeField(7, Buffer.from(service.version)),
  };
  if (shape.lookups.length === 0) return plan;
  const viewsOfLookup = shape.lookups.map((_, at) => [...drafts.values()].filter(({ lookup }) => lookup === at));
  return { ...plan, lookups: compileLookups(plan, shape, viewsOfLookup) };
}

interface ViewDraft {
  readonly definition: ViewDefinition;
  readonly types: readonly FeatureType[];
  readonly reader: RowReader;
  readonly index: number;
  readonly lookup: number;
}

function planEntities(views: readonly ViewDraft[]) {
  const keys: PlannedKey[] = [];
  const drafts = new Map<string, { keys: number[]; views: number[]; versions: { view: string; version: string }[] }>();
  const entityOfView = new Map<number, number>();
  for (const { definition: view, index } of views) {
    let draft = drafts.get(view.entity);
    if (!draft) {
      draft = { keys: view.joinKeys.map((key) => keyIndex(keys, key)), views: [], versions: [] };
      drafts.set(view.entity, draft);
    }
    draft.views.push(index);
    draft.versions.push({ view: view.name, version: view.version });
    entityOfView.set(index, [...drafts.keys()].indexOf(view.entity));
  }
  const entities = [...drafts].map(([name, draft]): PlannedEntity => ({ name, ...draft }));
  return { keys, entities, entityOfView };
}

function keyIndex(keys: PlannedKey[], key: PlannedKey): number {
  const known = keys.findIndex((other) => other.name === key.name);
  if (known < 0) return keys.push({ name: key.name, type: key.type }) - 1;
  if (keys[known]?.type !== key.type) {
    throw new MeshError(
      'INVALID_DEFINITION',
      `join key "${key.name}" is ${keys[known]?.type} in one entity and ${key.type} in another; a feature service needs one type`,
      { joinKey: key.name },
    );
  }
  return known;
}
