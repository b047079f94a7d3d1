import { definitions } from '@millrace/contracts';
import {
  asOfName,
  type CompiledDerived,
  compileDerived,
  derivedOf,
  type FeatureType,
  type FieldType,
  type ViewDefinition,
  viewFeatureTypes,
} from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import { fieldTypeOf } from './resolve-view.ts';
import { lookupsOf, type NamedInput, type ShapeLookup } from './service-lookups.ts';
import type { ShapeInput, ShapeReport } from './shape-input.ts';

/** A derived feature, with what stands in for its value by the policies of the reference that asks for it. */
export interface ShapeStep extends CompiledDerived {
  /** For each of the expression's uses. */
  readonly inputs: readonly ShapeInput[];
  /** Of one that a reference asks for; one that a service derives, and one on the way to another, has no policies. */
  readonly reference: definitions.FeatureReference | undefined;
}

export interface ShapeOutput {
  readonly name: string;
  readonly type: FeatureType;
  readonly from: { readonly t: 'read' | 'step'; readonly at: number };
}

export interface ShapeField {
  readonly name: string;
  readonly type: FieldType;
  readonly nullable: boolean;
}

/**
 * A feature service as it is read: the aggregated features, then the derived ones in an order in which each comes after those it uses, and what of both
 * is in answers. Online and in training sets it is the same shape, with closures here and SQL there.
 */
export interface ServiceShape {
  /** References to aggregated features alone, each with a name that no other has. */
  readonly reads: readonly definitions.FeatureReference[];
  readonly readTypes: readonly FeatureType[];
  /** Each comes after those that it rests on. */
  readonly lookups: readonly ShapeLookup[];
  /** For each of `reads` the lookup that finds its row; −1: the request's join keys do. */
  readonly lookupOfRead: readonly number[];
  readonly steps: readonly ShapeStep[];
  readonly outputs: readonly ShapeOutput[];
  readonly requestFields: readonly ShapeField[];
}

/** The name of a reference in answers and expressions. */
export function referenceName({ alias, view, feature }: definitions.FeatureReference): string {
  return alias === '' ? `${view}__${feature}` : alias;
}

/** The names of a service's answers, in their order. */
export function outputNames(service: definitions.FeatureService): string[] {
  return [
    ...service.features.filter(({ hidden }) => !hidden).map(referenceName),
    ...service.derived.map(({ name }) => name),
  ];
}

/** INVALID_DEFINITION lists every problem. */
export function resolveService(
  name: string,
  spec: definitions.FeatureService,
  viewOf: (view: string, version: string) => ViewDefinition,
): ServiceShape {
  const problems: string[] = [];
  const shape = shapeOf(spec, viewOf, (field, message) => problems.push(`${field}: ${message}`));
  if (problems.length > 0)
    throw new MeshError('INVALID_DEFINITION', `feature service "${name}": ${problems.join('; ')}`, {
      featureService: name,
      problems: problems.length,
    });
  return shape;
}

/** Reports every problem of expressions; a reference that names nothing is passed over when its view is not known. */
export function shapeOf(
  spec: definitions.FeatureService,
  viewOf: (view: string, version: string) => ViewDefinition | undefined,
  report: ShapeReport,
): ServiceShape {
  const reads: definitions.FeatureReference[] = [];
  const readTypes: FeatureType[] = [];
  const origins: { readonly view: ViewDefinition; readonly name: string; readonly field: string }[] = [];
  const steps: ShapeStep[] = [];
  const outputs: ShapeOutput[] = [];
  const sources = new Map<string, NamedInput>();
  const addRead = (reference: definitions.FeatureReference, type: FeatureType): ShapeInput & { readonly t: 'read' } => {
    readTypes.push(type);
    return { t: 'read', at: reads.push(reference) - 1 };
  };

  for (const [index, reference] of spec.features.entries()) {
    const view = viewOf(reference.view, reference.viewVersion);
    if (!view) continue;
    const name = referenceName(reference);
    const found = readOrDerive(view, reference, addRead, steps);
    while (origins.length < reads.length) origins.push({ view, name, field: `features.${index}` });
    if (!found) {
      const names = [...view.features, ...(view.derived ?? [])].map((feature) => feature.name);
      report(
        `features.${index}`,
        `feature view "${view.name}" has no feature "${reference.feature}"; features: ${names.join(', ')}`,
      );
      continue;
    }
    sources.set(name, found);
    if (!reference.hidden) outputs.push({ name, type: found.type, from: found.input });
  }

  const requestFields = spec.requestFields.map(({ name, type, nullable }, at): ShapeField => {
    const field = { name, type: fieldTypeOf(type) ?? 'DOUBLE', nullable };
    if (!sources.has(name)) sources.set(name, { type: field.type, input: { t: 'request', at } });
    return field;
  });
  sources.set(asOfName, { type: 'TIMESTAMP', input: { t: 'as_of' } });

  const variables = [...sources].map(([name, { type }]) => ({ name, type }));
  const { derived, problems } = compileDerived(spec.derived, variables);
  for (const { name, problem } of problems) report(`derived.${name}`, problem);
  const stepOf = new Map<string, ShapeInput & { readonly t: 'step' }>();
  for (const each of derived) {
    const inputs = each.expression.uses.map((name) => inputOf(sources.get(name)?.input ?? stepOf.get(name)));
    stepOf.set(each.name, { t: 'step', at: steps.push({ ...each, inputs, reference: undefined }) - 1 });
  }
  for (const { name } of spec.derived) {
    const from = stepOf.get(name);
    const type = from && steps[from.at]?.expression.type;
    if (!from || !type) continue;
    outputs.push({ name, type, from });
    sources.set(name, { type, input: from });
  }
  const looking = reads.map((reference, at) => ({ reference, ...(origins[at] as (typeof origins)[number]) }));
  for (const { reference, view } of looking)
    if (reference.through.length === 0)
      for (const { name, type } of view.joinKeys)
        if (!sources.has(name)) sources.set(name, { type, input: { t: 'key', name } });
  return { reads, readTypes, steps, outputs, requestFields, ...lookupsOf(looking, steps, sources, report) };
}

/** A reference to an aggregated feature is a read; to a derived one, the reads and steps that it takes. */
function readOrDerive(
  view: ViewDefinition,
  reference: definitions.FeatureReference,
  addRead: (reference: definitions.FeatureReference, type: FeatureType) => ShapeInput & { readonly t: 'read' },
  steps: ShapeStep[],
): { readonly type: FeatureType; readonly input: ShapeInput & { readonly t: 'read' | 'step' } } | undefined {
  const types = viewFeatureTypes(view);
  const place = view.features.findIndex(({ name }) => name === reference.feature);
  const type = types[place];
  if (type) return { type, input: addRead(reference, type) };
  if (!view.derived?.some(({ name }) => name === reference.feature)) return undefined;
  const derived = derivedOf(view);
  const wanted = new Set([reference.feature]);
  for (const { name, expression } of derived.toReversed())
    if (wanted.has(name)) for (const use of expression.uses) wanted.add(use);
  const inputs = new Map<string, ShapeInput>([[asOfName, { t: 'as_of' }]]);
  // of the read time alone it still is a feature of its view's entity: the row is read, and the entity's keys are asked for
  if (!view.features.some(({ name }) => wanted.has(name))) wanted.add(view.features[0]?.name ?? '');
  for (const [at, { name }] of view.features.entries()) {
    if (!wanted.has(name)) continue;
    // served though stale: what is done then is the policy of the whole
    const alias = `#${referenceName(reference)}#${name}`;
    const { SERVE } = definitions.StaleAction;
    const part = { ...reference, feature: name, alias, hidden: true, defaultValue: undefined, staleAction: SERVE };
    inputs.set(name, addRead(part, types[at] ?? 'DOUBLE'));
  }
  let last: { readonly type: FieldType; readonly input: ShapeInput & { readonly t: 'step' } } | undefined;
  for (const each of derived) {
    if (!wanted.has(each.name)) continue;
    const isAsked = each.name === reference.feature;
    const step: ShapeStep = {
      ...each,
      inputs: each.expression.uses.map((name) => inputOf(inputs.get(name))),
      reference: isAsked ? reference : undefined,
    };
    const input = { t: 'step', at: steps.push(step) - 1 } as const;
    inputs.set(each.name, input);
    if (isAsked) last = { type: each.expression.type, input };
  }
  return last;
}

function inputOf(found: ShapeInput | undefined): ShapeInput {
  if (!found) throw new MeshError('INTERNAL', 'an expression uses a name that it was not given', {});
  return found;
}
