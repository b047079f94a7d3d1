import { type definitions, expectations } from '@millrace/contracts';
import { compilePayload, type SourceVersion } from '@millrace/payloads';
import { sourceFieldsOf } from '@millrace/registry';
import { compileRowChecks, type UniqueCheck } from '@millrace/sources';
import { LatestBook } from '../domain/latest-book.ts';
import { compileGate, type OpenGate } from '../domain/row-gate.ts';
import { compileSetGate, type OpenSetGate } from '../domain/set-gate.ts';
import {
  compileSource,
  type RowBuilder,
  type SourceDefinition,
  type SourceValidator,
} from '../domain/source-validator.ts';
import type { Fitted } from '../domain/treatments.ts';
import { UniqueBook, uniqueKey } from '../domain/unique-book.ts';
import { type Definitions, registeredSource } from './definitions.ts';

/** Everything that a source's events go through. */
export type Intake = {
  readonly validator: SourceValidator;
  /** Undefined when no expectation looks at rows. */
  readonly openGate?: OpenGate | undefined;
  /** Undefined when no expectation looks at batches. */
  readonly openSets?: OpenSetGate | undefined;
  /** Remembers the row that is kept for later ones; returns how to take that back. Undefined when nothing is carried forward. */
  readonly carry?: ((rows: RowBuilder) => (() => void)[]) | undefined;
};

/** Events as they were accepted, with some of their fields as text. */
export type PastEvent = { readonly id: string; readonly timeUs: number; readonly values: readonly (string | null)[] };

/** What was accepted before this process began: history, and of the EVENTS stream what is not there yet. */
export type Past = {
  /** Of the last `windowUs` before the newest event, newest last. */
  recent(source: SourceDefinition, fields: readonly string[], windowUs: number, limit: number): Promise<PastEvent[]>;
  /** The latest event of each key that has the field; the keys that were seen last, oldest first. */
  latest(source: SourceDefinition, field: string, limit: number): Promise<PastEvent[]>;
};

/** The compiled intake of every source, by name; a source is compiled again when its version changes. */
export function createIntakes(deps: {
  readonly definitions: Definitions;
  /** A version of a source that it had before. */
  readonly earlier: (source: string, version: string) => Promise<definitions.Source | undefined>;
  readonly past: Past;
  readonly fitted: { of(source: string, field: string): Fitted | undefined };
  readonly limits: { readonly rememberedKeysMax: number };
}) {
  const { definitions: registry, past, fitted } = deps;
  const keysMax = deps.limits.rememberedKeysMax;
  const compiled = new Map<string, { readonly version: string; readonly intake: Promise<Intake> }>();
  const uniqueBooks = new Map<string, Promise<UniqueBook>>();
  const latestBooks = new Map<string, Promise<LatestBook>>();

  return {
    /** Throws UNKNOWN_SOURCE; STORE_UNAVAILABLE while what an expectation must know of the past cannot be read. */
    async of(source: string): Promise<Intake> {
      const { version, spec, previousVersions } = await registeredSource(registry, source);
      const known = compiled.get(source);
      if (known !== undefined && known.version === version) return known.intake;
      const intake = compile({ name: source, version, spec }, previousVersions);
      compiled.set(source, { version, intake });
      intake.catch(() => compiled.delete(source));
      return intake;
    },
  };

  async function compile(source: SourceDefinition, previous: readonly string[]): Promise<Intake> {
    const { name, spec } = source;
    const codec = compilePayload(source, await writersOf(source, previous));
    const forwarded = spec.fields
      .filter(({ missing }) => missing === expectations.MissingAction.FORWARD)
      .map((field) => field.name);
    const latest = new Map<string, LatestBook>();
    for (const field of forwarded)
      latest.set(
        field,
        await remembered(latestBooks, `${name}\n${spec.keyField}\n${field}`, () => latestOf(source, field)),
      );
    const checks = compileRowChecks(spec, sourceFieldsOf(spec));
    const uniques = new Map<UniqueCheck, UniqueBook>();
    for (const unique of checks.uniques) {
      const key = `${name}\n${unique.fields.join(',')}\n${unique.windowUs}`;
      uniques.set(unique, await remembered(uniqueBooks, key, () => uniqueOf(source, unique)));
    }
    const values = {
      fitted: (field: string) => fitted.of(name, field),
      latest: (field: string, key: string, timeUs: number) => latest.get(field)?.get(field, key, timeUs),
    };
    const validator = compileSource(source, values, codec);
    return {
      validator,
      openGate: compileGate(checks, (unique) => uniques.get(unique) as UniqueBook),
      openSets: compileSetGate(source),
      carry: forwarded.length === 0 ? undefined : carrier(spec, latest),
    };
  }

  /** The versions whose schemas payloads may still be written with: Avro is not read without its writer's. */
  async function writersOf({ name, spec }: SourceDefinition, previous: readonly string[]): Promise<SourceVersion[]> {
    if (spec.payload?.format?.$case !== 'avro') return [];
    const found = await Promise.all(previous.map((version) => deps.earlier(name, version)));
    return found.flatMap((earlier, at) => (earlier ? [{ version: previous[at] ?? '', spec: earlier }] : []));
  }

  async function uniqueOf(source: SourceDefinition, { fields, windowUs }: UniqueCheck): Promise<UniqueBook> {
    const book = new UniqueBook({ windowUs, keysMax });
    for (const { id, timeUs, values } of await past.recent(source, fields, 2 * windowUs, keysMax)) {
      const key = uniqueKey(values);
      if (key !== null) book.add(key, id, timeUs);
    }
    return book;
  }

  async function latestOf(source: SourceDefinition, field: string): Promise<LatestBook> {
    const book = new LatestBook({ keysMax });
    for (const { timeUs, values } of await past.latest(source, field, keysMax)) {
      const [key, value] = values;
      if (typeof key === 'string' && typeof value === 'string') book.put(field, key, timeUs, value);
    }
    return book;
  }
}

/** Read once and kept, whatever version asks; read again after a failure. */
function remembered<T>(books: Map<string, Promise<T>>, key: string, read: () => Promise<T>): Promise<T> {
  const known = books.get(key);
  if (known !== undefined) return known;
  const reading = read();
  books.set(key, reading);
  reading.catch(() => books.delete(key));
  return reading;
}

function carrier(
  { keyField }: definitions.Source,
  latest: ReadonlyMap<string, LatestBook>,
): NonNullable<Intake['carry']> {
  return (rows) => {
    const key = rows.scalar(keyField, rows.count);
    const undo: (() => void)[] = [];
    for (const [field, book] of latest) {
      const value = rows.scalar(field, rows.count);
      if (value !== null && key !== null) undo.push(book.put(field, String(key), rows.timeUs, value));
    }
    return undo;
  };
}
