import type { definitions } from '@millrace/contracts';
import type { FeatureType, FieldType, JoinKeyDefinition, ViewDefinition } from '@millrace/features';
import type { ShapeInput, ShapeReport } from './shape-input.ts';

/** How many lookups may follow one another. */
export const lookupDepthMax = 3;

/** Rows of another entity, found by values of this service: reads with the same entity and keys share one. */
export interface ShapeLookup {
  readonly entity: string;
  /** In the order of the entity's key. */
  readonly keys: readonly ShapeLookupKey[];
  /** 1, or one more than that of the lookup that gave a key. */
  readonly level: number;
}

export interface ShapeLookupKey {
  readonly name: string;
  readonly type: FieldType;
  readonly input: ShapeInput;
}

/** What a name of a service stands for. */
export interface NamedInput {
  readonly type: FeatureType;
  readonly input: ShapeInput;
}

/** A value that is computed from others. */
interface Resting {
  readonly inputs: readonly ShapeInput[];
}

/** A read that may be found by a lookup, with the place of its reference in the service. */
interface LookingUp {
  readonly reference: definitions.FeatureReference;
  readonly view: ViewDefinition;
  readonly name: string;
  readonly field: string;
}

interface Draft {
  readonly entity: string;
  readonly keys: readonly (ShapeLookupKey & { readonly from: string })[];
  readonly of: LookingUp;
}

/** Gives lookups in an order in which each comes after those that it rests on, and for each read which of them finds its row: −1 for none. */
export function lookupsOf(
  reads: readonly LookingUp[],
  steps: readonly Resting[],
  named: ReadonlyMap<string, NamedInput>,
  report: ShapeReport,
): { readonly lookups: readonly ShapeLookup[]; readonly lookupOfRead: readonly number[] } {
  if (reads.every(({ reference }) => reference.through.length === 0))
    return { lookups: [], lookupOfRead: reads.map(() => -1) };
  const drafts = new Map<string, Draft>();
  const reported = new Set<string>();
  const draftOfRead = reads.map((read) => {
    if (read.reference.through.length === 0) return '';
    // a derived feature of a view is several reads of one reference
    const once: ShapeReport = (field, message) => {
      if (!reported.has(`${field}\n${message}`)) report(field, message);
      reported.add(`${field}\n${message}`);
    };
    const keys = keysOf(read, named, once);
    if (keys.length < read.view.joinKeys.length) return '';
    const id = JSON.stringify([read.view.entity, keys.map(({ name, input }) => [name, ...Object.values(input)])]);
    if (!drafts.has(id)) drafts.set(id, { entity: read.view.entity, keys, of: read });
    return id;
  });
  const chains = chainsOf(drafts, draftOfRead, steps, report);
  const ordered = [...drafts].sort(([a], [b]) => levelIn(chains, a) - levelIn(chains, b));
  return {
    lookups: ordered.map(([id, { entity, keys }]) => ({
      entity,
      keys: keys.map(({ name, type, input }) => ({ name, type, input })),
      level: levelIn(chains, id),
    })),
    lookupOfRead: draftOfRead.map((id) => ordered.findIndex(([each]) => each === id)),
  };
}

/** The reads and steps that values rest on, themselves among them; what finds the rows of those reads is left out. */
export function restsOn(
  steps: readonly Resting[],
  inputs: readonly ShapeInput[],
): { readonly reads: ReadonlySet<number>; readonly steps: ReadonlySet<number> } {
  const found = { reads: new Set<number>(), steps: new Set<number>() };
  const follow = (input: ShapeInput): void => {
    if (input.t === 'read') found.reads.add(input.at);
    if (input.t !== 'step' || found.steps.has(input.at)) return;
    found.steps.add(input.at);
    for (const each of steps[input.at]?.inputs ?? []) follow(each);
  };
  for (const input of inputs) follow(input);
  return found;
}

function keysOf(
  { reference, view, field }: LookingUp,
  named: ReadonlyMap<string, NamedInput>,
  report: ShapeReport,
): Draft['keys'] {
  const where = `${field}.through`;
  const known = view.joinKeys.map(({ name, type }) => `"${name}" (${type})`).join(', ');
  const given = new Map(reference.through.map(({ joinKey, from }) => [joinKey, from]));
  for (const [at, { joinKey }] of reference.through.entries()) {
    if (!view.joinKeys.some(({ name }) => name === joinKey))
      report(`${where}.${joinKey}`, `entity "${view.entity}" has no join key "${joinKey}"; join keys: ${known}`);
    if (reference.through.findIndex((other) => other.joinKey === joinKey) < at)
      report(`${where}.${joinKey}`, `join key "${joinKey}" is there twice; keep one`);
  }
  return view.joinKeys.flatMap((key) => {
    const from = given.get(key.name);
    if (from === undefined) {
      report(
        where,
        `entity "${view.entity}" is looked up by ${known}, and nothing gives "${key.name}"; name what holds it`,
      );
      return [];
    }
    const found = named.get(from);
    if (!found) {
      report(
        `${where}.${key.name}`,
        `the service has no "${from}"; give it as a feature (hidden: true keeps it out of answers), derived feature or request field; there are ${[...named.keys()].slice(0, 20).join(', ')}`,
      );
      return [];
    }
    if (found.type !== key.type) report(`${where}.${key.name}`, wrongType(key, from, found.type));
    return [{ name: key.name, type: key.type, input: found.input, from }];
  });
}

function wrongType({ name, type }: JoinKeyDefinition, from: string, given: FeatureType): string {
  return `join key "${name}" is ${type} and "${from}" is ${given}; look it up through a ${type}, such as a derived feature that converts it`;
}

type Chains = ReadonlyMap<string, readonly string[]>;

/** The names through which each lookup goes, its own key's first; as many as it is deep. Reports circles and those that go too deep. */
function chainsOf(
  drafts: ReadonlyMap<string, Draft>,
  draftOfRead: readonly string[],
  steps: readonly Resting[],
  report: ShapeReport,
): Chains {
  const chains = new Map<string, readonly string[]>();
  const chainOfLookup = (id: string, path: readonly string[]): readonly string[] => {
    const done = chains.get(id);
    const draft = drafts.get(id);
    if (done || !draft) return done ?? [];
    if (path.includes(id)) {
      const round = path.slice(path.indexOf(id)).map((each) => `"${drafts.get(each)?.of.name}"`);
      report(
        `${draft.of.field}.through`,
        `lookups go round in a circle: ${[...round, round[0]].join(' through ')}; break it`,
      );
      return [];
    }
    const longest = longestOf(draft.keys.map(({ input, from }) => [from, ...chainOfInput(input, [...path, id])]));
    chains.set(id, longest);
    if (longest.length > lookupDepthMax)
      report(
        `${draft.of.field}.through`,
        `"${draft.of.name}" is ${longest.length} lookups deep: ${longest.map((name) => `through "${name}"`).join(' ')}; the limit is ${lookupDepthMax}; keep a key that lies nearer in the first views`,
      );
    return longest;
  };
  const chainOfInput = (input: ShapeInput, path: readonly string[]): readonly string[] => {
    const { reads } = restsOn(steps, [input]);
    return longestOf([...reads].map((at) => chainOfLookup(draftOfRead[at] ?? '', path)));
  };
  for (const id of drafts.keys()) chainOfLookup(id, []);
  return chains;
}

function longestOf(chains: readonly (readonly string[])[]): readonly string[] {
  return chains.reduce((longest, each) => (each.length > longest.length ? each : longest), []);
}

function levelIn(chains: Chains, id: string): number {
  return Math.max(1, chains.get(id)?.length ?? 0);
}
