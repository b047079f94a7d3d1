import { definitions, serving } from '@millrace/contracts';
import {
  compileRowReader,
  elementOf,
  type FeatureType,
  isListType,
  type RowReader,
  type ViewDefinition,
  viewFeatureTypes,
} from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import {
  Block,
  type Fallback,
  type Plan,
  type PlannedEntity,
  type PlannedFeature,
  type PlannedKey,
  type PlannedView,
  type StaleAction,
} from './plan.ts';
import { encodeField } from './wire.ts';

/** Compiles a feature service. `viewOf` finds the definition of a view's version. Throws INVALID_DEFINITION. */
export function compilePlan(
  service: { readonly name: string; readonly version: string; readonly spec: definitions.FeatureService },
  viewOf: (view: string, version: string) => ViewDefinition,
): Plan {
  const drafts = new Map<string, ViewDraft>();
  const columns = { [Block.DOUBLES]: 0, [Block.INT64S]: 0, [Block.STRINGS]: 0, [Block.LISTS]: 0 };
  const features = service.spec.features.map((reference, position): PlannedFeature => {
    const draftKey = `${reference.view}@${reference.viewVersion}`;
    let draft = drafts.get(draftKey);
    if (!draft) {
      const definition = viewOf(reference.view, reference.viewVersion);
      draft = {
        definition,
        types: viewFeatureTypes(definition),
        reader: compileRowReader(definition),
        index: drafts.size,
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
      name: reference.alias === '' ? `${reference.view}__${reference.feature}` : reference.alias,
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
  const { keys, entities, entityOfView } = planEntities([...drafts.values()].map((draft) => draft.definition));
  const views = [...drafts.values()].map(({ definition, reader, index }): PlannedView => {
    const own = features.filter((feature) => feature.view === index);
    return {
      name: definition.name,
      version: definition.version,
      entity: entityOfView[index] ?? 0,
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
  return {
    name: service.name,
    version: service.version,
    features,
    views,
    entities,
    keys,
    doubles: columns[Block.DOUBLES],
    int64s: columns[Block.INT64S],
    strings: columns[Block.STRINGS],
    lists: features.flatMap(({ type }) => elementOf(type) ?? []),
    wireFeatures: Buffer.concat(features.map((feature) => encodeField(6, encodeFeatureColumn(feature)))),
    wireVersion: encodeField(7, Buffer.from(service.version)),
  };
}

interface ViewDraft {
  readonly definition: ViewDefinition;
  readonly types: readonly FeatureType[];
  readonly reader: RowReader;
  readonly index: number;
}

function planEntities(views: readonly ViewDefinition[]) {
  const keys: PlannedKey[] = [];
  const drafts = new Map<string, { keys: number[]; views: number[]; versions: { view: string; version: string }[] }>();
  const entityOfView = views.map((view, index) => {
    let draft = drafts.get(view.entity);
    if (!draft) {
      draft = { keys: view.joinKeys.map((key) => keyIndex(keys, key)), views: [], versions: [] };
      drafts.set(view.entity, draft);
    }
    draft.views.push(index);
    draft.versions.push({ view: view.name, version: view.version });
    return [...drafts.keys()].indexOf(view.entity);
  });
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

function blockOf(type: FeatureType): 1 | 2 | 3 | 4 {
  if (isListType(type)) return Block.LISTS;
  switch (type) {
    case 'DOUBLE':
      return Block.DOUBLES;
    case 'BOOL':
    case 'INT64':
    case 'TIMESTAMP':
      return Block.INT64S;
    case 'STRING':
      return Block.STRINGS;
    default:
      return type satisfies never;
  }
}

const staleActions: Record<definitions.StaleAction, StaleAction> = {
  [definitions.StaleAction.UNSPECIFIED]: 'serve',
  [definitions.StaleAction.SERVE]: 'serve',
  [definitions.StaleAction.NULL]: 'null',
  [definitions.StaleAction.DEFAULT]: 'default',
  [definitions.StaleAction.FAIL]: 'fail',
};

function fallbackOf(value: definitions.Value): Fallback | null {
  switch (value.kind?.$case) {
    case undefined:
      return null;
    case 'boolValue':
      return { double: Number(value.kind.value), int64: value.kind.value ? 1n : 0n, text: String(value.kind.value) };
    case 'int64Value':
      return { double: Number(value.kind.value), int64: value.kind.value, text: String(value.kind.value) };
    case 'doubleValue':
      return {
        double: value.kind.value,
        int64: Number.isFinite(value.kind.value) ? BigInt(Math.trunc(value.kind.value)) : 0n,
        text: String(value.kind.value),
      };
    case 'stringValue':
      return { double: Number.NaN, int64: 0n, text: value.kind.value };
    default:
      return value.kind satisfies never;
  }
}

function encodeFeatureColumn(feature: PlannedFeature): Buffer {
  return Buffer.from(serving.FeatureColumn.encode(feature).finish());
}
