import type { definitions } from '@millrace/contracts';

type Reference = definitions.FeatureReference;

export interface LookupOptions {
  /** For each join key of the other entity what holds it: a feature, or the name of a feature, derived feature, request field or join key of the service. */
  readonly through: Readonly<Record<string, string | Reference>>;
  /** Features of views of the other entity. */
  readonly features: readonly (Reference | readonly Reference[])[];
  /** Names those that have no name of their own `<as>__<feature>`, in place of `<view>__<feature>`. */
  readonly as?: string;
}

export interface Lookup {
  readonly kind: 'lookup';
  readonly through: LookupOptions['through'];
  readonly features: readonly Reference[];
}

/**
 * Features of another entity, found by a key that this one holds: `lookup({ through: { tail_number: feature(flights, 'last_tail') },
 * features: [feature(aircraft, 'age')] })`. A key may itself come from a lookup, at most three deep. A feature that only gives a key
 * need not be among those of the service.
 */
export function lookup({ through, features, as }: LookupOptions): Lookup {
  return { kind: 'lookup', through, features: features.flat().map((each) => prefixed(each as Reference, as)) };
}

export function prefixed(reference: Reference, as: string | undefined): Reference {
  return reference.alias === '' && as !== undefined
    ? { ...reference, alias: `${as}__${reference.feature}` }
    : reference;
}

/** A service's references in their order; before them, hidden, those that lookups take keys from and that it has not. */
export function withLookups(given: readonly (Reference | readonly Reference[] | Lookup)[]): Reference[] {
  const flat = given.flatMap((each): readonly (Reference | Lookup)[] =>
    Array.isArray(each) ? (each as readonly Reference[]) : [each as Reference | Lookup],
  );
  const all = flat.flatMap((each) => ('kind' in each ? each.features : [each]));
  const lookedUp = new Set(flat.flatMap((each) => ('kind' in each ? each.features : [])));
  const added = new Map<string, Reference>();
  const sourceOf = (from: string | Reference): string => {
    if (typeof from === 'string') return from;
    const isSame = (each: Reference) =>
      each.view === from.view && each.feature === from.feature && each.viewVersion === from.viewVersion;
    const there = all.find((each) => nameOf(each) === nameOf(from)) ?? [...lookedUp].find(isSame);
    if (!there) added.set(nameOf(from), { ...from, hidden: true });
    return nameOf(there ?? from);
  };
  const features = flat.flatMap((each): readonly Reference[] => {
    if (!('kind' in each)) return [each];
    const through = Object.entries(each.through).map(([joinKey, from]) => ({ joinKey, from: sourceOf(from) }));
    return each.features.map((reference) => ({ ...reference, through }));
  });
  return [...added.values(), ...features];
}

function nameOf({ alias, view, feature }: Reference): string {
  return alias === '' ? `${view}__${feature}` : alias;
}
