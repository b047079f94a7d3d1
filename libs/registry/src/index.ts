export { type PlacedTarget, targetsOf } from './deployment-targets.ts';
export { fromWireKind, type Kind, kindOfSpec, kinds, toWireKind } from './kinds.ts';
export { createSnapshotLoader, type SnapshotLoader } from './load-snapshot.ts';
export { fieldTypeOf, functionOf, resolveView, sourceFieldsOf } from './resolve-view.ts';
export { lookupDepthMax, restsOn, type ShapeLookup, type ShapeLookupKey } from './service-lookups.ts';
export {
  outputNames,
  referenceName,
  resolveService,
  type ServiceShape,
  type ShapeField,
  type ShapeOutput,
  type ShapeStep,
  shapeOf,
} from './service-shape.ts';
export type { ShapeInput, ShapeReport } from './shape-input.ts';
export { emptySnapshot, type Registered, type RegistrySnapshot, viewDefinition } from './snapshot.ts';
export { type Head, type Manifest, type ManifestEntry, openRegistryStore, type RegistryStore } from './store.ts';
export {
  openViewStateTeller,
  type ViewState,
  type ViewStateMap,
  type ViewStates,
  watchViewStates,
} from './view-states.ts';
export { type RegistryWatch, watchRegistry } from './watch.ts';
