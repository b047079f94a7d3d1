import { definitions, type expectations } from '@millrace/contracts';
import { payloadDeltas } from '@millrace/payloads';

/** One difference of two schemas. */
export type SchemaDelta = {
  readonly field: string;
  readonly what: string;
  /** The new schema reads events of the old one. */
  readonly backward: boolean;
  /** The old schema reads events of the new one. */
  readonly forward: boolean;
  /** Values that were computed from the field before may be others now. */
  readonly affectsValues: boolean;
};

type Field = definitions.SourceField;

const { DOUBLE, INT64 } = definitions.FieldType;

/**
 * How a source's schema differs from another one, field by field. "Reads" means: an event that fits the one schema fits the other, with
 * defaults for what is absent; fields that a schema does not name are dropped. The rules of Avro and Confluent, and of JSON Schema for
 * allowed values and ranges. Where both have a payload of one format, that format's own rules say what reads what; a field that comes, goes or
 * changes its type is then told for what it means to values alone.
 */
export function schemaDeltas(before: definitions.Source, after: definitions.Source): SchemaDelta[] {
  const encoded = payloadDeltas(before.payload, after.payload);
  const sameFormat = encoded !== undefined && before.payload?.format?.$case === after.payload?.format?.$case;
  const byFields = fieldsDeltas(before, after).map((delta) =>
    sameFormat && delta.ofShape ? { ...delta, backward: true, forward: true } : delta,
  );
  return [
    ...(encoded ?? []).map((delta) => ({ ...delta, affectsValues: false })),
    ...byFields.map(({ ofShape: _, ...delta }) => delta),
  ];
}

/** `ofShape`: of what a payload's schema says too. */
type FieldDelta = SchemaDelta & { readonly ofShape?: boolean };

function fieldsDeltas(before: definitions.Source, after: definitions.Source): FieldDelta[] {
  const old = new Map(before.fields.map((field) => [field.name, field]));
  const now = new Map(after.fields.map((field) => [field.name, field]));
  const deltas: FieldDelta[] = [];
  for (const [name, field] of now) {
    const was = old.get(name);
    if (was) deltas.push(...fieldDeltas(was, field));
    else
      deltas.push({
        field: name,
        what: `added${optional(field) ? '' : ', without a default and not nullable'}`,
        backward: optional(field),
        forward: true,
        affectsValues: false,
        ofShape: true,
      });
  }
  for (const [name, field] of old) {
    if (now.has(name)) continue;
    const what = `removed${optional(field) ? '' : ', which had no default and was not nullable'}`;
    deltas.push({ field: name, what, backward: true, forward: optional(field), affectsValues: true, ofShape: true });
  }
  if (before.eventTimeField !== after.eventTimeField) {
    const what = `the event time: ${named(before.eventTimeField)} -> ${named(after.eventTimeField)}`;
    const field = after.eventTimeField || before.eventTimeField;
    deltas.push({ field, what, backward: false, forward: false, affectsValues: true });
  }
  return deltas;
}

/** True when an event may leave it out. */
function optional({ nullable, defaultValue }: Field): boolean {
  return nullable || defaultValue !== undefined;
}

function named(field: string): string {
  return field === '' ? 'the envelope' : `"${field}"`;
}

function fieldDeltas(was: Field, now: Field): FieldDelta[] {
  const deltas: FieldDelta[] = [];
  const add = (what: string, backward: boolean, forward: boolean, affectsValues: boolean) =>
    deltas.push({ field: now.name, what, backward, forward, affectsValues, ofShape: true });
  if (was.type !== now.type || was.dimension !== now.dimension) {
    const what = `type: ${typeName(was)} -> ${typeName(now)}`;
    add(what, was.type === INT64 && now.type === DOUBLE, was.type === DOUBLE && now.type === INT64, true);
  }
  if (!was.nullable && now.nullable) add('may be null now', true, was.defaultValue !== undefined, true);
  if (was.nullable && !now.nullable) {
    const stands = now.defaultValue !== undefined;
    add(`may not be null any more${stands ? ', its default stands in' : ''}`, stands, true, true);
  }
  const defaults = [valueText(was.defaultValue), valueText(now.defaultValue)] as const;
  if (defaults[0] !== defaults[1]) {
    // an optional field stays so by being nullable; one that loses its default may not be left out any more
    const loses = now.defaultValue === undefined && !now.nullable;
    const gains = was.defaultValue === undefined && !was.nullable;
    add(`default: ${defaults[0]} -> ${defaults[1]}`, !loses, !gains, true);
  }
  deltas.push(...setDeltas(was, now), ...rangeDeltas(was, now), ...treatmentDeltas(was, now));
  return deltas;
}

function setDeltas(was: Field, now: Field): SchemaDelta[] {
  const lost = narrower(was.enumValues, now.enumValues);
  const won = narrower(now.enumValues, was.enumValues);
  if (!lost && !won) return [];
  const list = (values: readonly string[]) => (values.length === 0 ? 'any' : values.slice(0, 8).join(', '));
  const what = `allowed values: ${list(was.enumValues)} -> ${list(now.enumValues)}`;
  return [{ field: now.name, what, backward: !lost, forward: !won, affectsValues: false }];
}

/** True when some value is allowed by the first and not by the second. */
function narrower(first: readonly string[], second: readonly string[]): boolean {
  if (second.length === 0) return false;
  const allowed = new Set(second);
  return first.length === 0 || first.some((value) => !allowed.has(value));
}

function rangeDeltas(was: Field, now: Field): SchemaDelta[] {
  const [low, high] = [was.min ?? Number.NEGATIVE_INFINITY, was.max ?? Number.POSITIVE_INFINITY];
  const [newLow, newHigh] = [now.min ?? Number.NEGATIVE_INFINITY, now.max ?? Number.POSITIVE_INFINITY];
  if (low === newLow && high === newHigh) return [];
  const what = `range: ${low} to ${high} -> ${newLow} to ${newHigh}`;
  const backward = newLow <= low && newHigh >= high;
  const forward = low <= newLow && high >= newHigh;
  return [{ field: now.name, what, backward, forward, affectsValues: false }];
}

function treatmentDeltas(was: Field, now: Field): SchemaDelta[] {
  const text = ({ missing, outliers }: Field) =>
    JSON.stringify([missing, outliers ?? null] satisfies [expectations.MissingAction, unknown]);
  if (text(was) === text(now)) return [];
  const what = 'another treatment of missing values or outliers';
  return [{ field: now.name, what, backward: true, forward: true, affectsValues: false }];
}

function typeName({ type, dimension }: Field): string {
  const name = Object.entries(definitions.FieldType).find(([, value]) => value === type)?.[0] ?? '?';
  return dimension === 0 ? name : `${name}(${dimension})`;
}

function valueText(value: definitions.Value | undefined): string {
  const given = value?.kind?.value;
  return given === undefined ? 'none' : typeof given === 'string' ? JSON.stringify(given) : String(given);
}

export type CompatibilityRule = {
  readonly name: string;
  readonly backward: boolean;
  readonly forward: boolean;
  /** Against every earlier version, not only the last. */
  readonly transitive: boolean;
};

const { Compatibility } = definitions;
const rules: Readonly<Record<definitions.Compatibility, CompatibilityRule>> = {
  [Compatibility.UNSPECIFIED]: { name: 'backward', backward: true, forward: false, transitive: false },
  [Compatibility.NONE]: { name: 'none', backward: false, forward: false, transitive: false },
  [Compatibility.BACKWARD]: { name: 'backward', backward: true, forward: false, transitive: false },
  [Compatibility.BACKWARD_TRANSITIVE]: {
    name: 'backward_transitive',
    backward: true,
    forward: false,
    transitive: true,
  },
  [Compatibility.FORWARD]: { name: 'forward', backward: false, forward: true, transitive: false },
  [Compatibility.FORWARD_TRANSITIVE]: { name: 'forward_transitive', backward: false, forward: true, transitive: true },
  [Compatibility.FULL]: { name: 'full', backward: true, forward: true, transitive: false },
  [Compatibility.FULL_TRANSITIVE]: { name: 'full_transitive', backward: true, forward: true, transitive: true },
};

export function compatibilityRule(compatibility: definitions.Compatibility): CompatibilityRule {
  return rules[compatibility];
}

export function allows(rule: CompatibilityRule, delta: SchemaDelta): boolean {
  return (!rule.backward || delta.backward) && (!rule.forward || delta.forward);
}

/** The fields of earlier versions that are gone: what an older publisher may still send. */
export function retiredFields(before: definitions.Source | undefined, after: definitions.Source): string[] {
  const now = new Set(after.fields.map(({ name }) => name));
  const earlier = [...(before?.fields.map(({ name }) => name) ?? []), ...(before?.retiredFields ?? [])];
  return [...new Set(earlier)].filter((name) => !now.has(name)).sort();
}
