import type { definitions } from '@millrace/contracts';
import { definitions as proto } from '@millrace/contracts';
import type { Column, Scalar } from '@millrace/features';
import { quote } from '@millrace/kernel';
import type { PayloadCodec } from '@millrace/payloads';
import { isCorrectable, operationProblem } from '@millrace/sources';
import type { Rows } from './columns.ts';
import { openDebezium } from './debezium.ts';
import type { FieldReader, FieldReaderFactory } from './field-reader.ts';
import { compileField } from './field-readers.ts';
import { type Opened, openPayload } from './open-payload.ts';
import type { JsonObject } from './parse-json.ts';
import { PayloadHash } from './payload-hash.ts';
import { Problem, problem } from './problem.ts';
import { eventBytesMax, eventIdLengthMax, type RawEvent } from './raw-event.ts';
import { absent, noEventTime, notCorrectable } from './row-problems.ts';
import { eventTimeEndUs, eventTimeMinUs, formatUs, parseTimeUs } from './timestamps.ts';
import {
  compileTreatments,
  type Given,
  type Note,
  noValueSources,
  type Treatment,
  type ValueSources,
} from './treatments.ts';

export type SourceDefinition = { readonly name: string; readonly version: string; readonly spec: definitions.Source };

/** What an event's time is held against. */
export type TimeLimits = { readonly nowUs: number; readonly frontierUs: number };

/** A source's schema, compiled: `open` starts the typed rows of one batch. */
export type SourceValidator = {
  readonly source: string;
  readonly version: string;
  readonly partitions: number;
  readonly spec: definitions.Source;
  /** Undefined for a source of JSON alone. */
  readonly codec: PayloadCodec | undefined;
  /** Its events may be corrected and deleted. */
  readonly isCorrectable: boolean;
  open(capacity: number): RowBuilder;
};

/** The typed rows of one batch: `read` writes the next row, `keep` makes it count. */
export type RowBuilder = {
  count: number;
  readonly ids: string[];
  readonly eventTimeUs: Float64Array;
  readonly hashes: BigUint64Array;
  /** Reads an event into row `count`; its id and the hash of its payload are in `id` and `hash` afterwards. */
  read(event: RawEvent, limits: TimeLimits): Problem | null;
  id: string;
  readonly hash: PayloadHash;
  /** The event that was just read deletes the one with its id: it has no time and no values. */
  readonly isDelete: boolean;
  /** Of what was kept, where events may be corrected; by row. */
  readonly changes: RowChanges | undefined;
  /** The time of the event that was just read. */
  readonly timeUs: number;
  /** What was done to the values of the event that was just read. */
  readonly notes: readonly Note[];
  keep(change?: { readonly operation: number; readonly sequence: bigint }): void;
  /** The columns in the making: row `count` is the event that was just read. */
  live(): ReadonlyMap<string, Column>;
  scalar(field: string, row: number): Scalar;
  columns(rows: Rows): Map<string, Column>;
  partitionKey(row: number): string;
  size(row: number): number;
};

/** An operation (of libs/events) and the publisher's number for each row. */
export type RowChanges = { readonly operations: Uint8Array; readonly sequences: BigUint64Array };

const futureSkewDefaultUs = 300e6;
const none: readonly Note[] = [];

type Field = {
  readonly name: string;
  readonly nullable: boolean;
  readonly isEventTime: boolean;
  /** Names such as `constructor` exist on every object: look at own members only. */
  readonly inherited: boolean;
  readonly treated: boolean;
  readonly make: FieldReaderFactory;
};

type Compiled = {
  readonly source: string;
  readonly codec: PayloadCodec | undefined;
  readonly isCorrectable: boolean;
  readonly debezium: definitions.Debezium | undefined;
  readonly timestamps: ReadonlySet<string>;
  readonly fields: readonly Field[];
  readonly names: ReadonlySet<string>;
  readonly treatments: readonly Treatment[];
  readonly rejectExtra: boolean;
  readonly eventTimeField: string;
  readonly keyAt: number;
  readonly futureSkewUs: number;
  readonly latenessMaxUs: number;
};

export function compileSource(
  { name, version, spec }: SourceDefinition,
  values: ValueSources = noValueSources,
  codec?: PayloadCodec,
): SourceValidator {
  const treatments = compileTreatments(spec, values);
  const treated = new Set(treatments.map(({ at }) => at));
  const compiled: Compiled = {
    source: name,
    codec,
    isCorrectable: isCorrectable(spec),
    debezium: spec.debezium,
    timestamps: new Set(
      spec.fields.filter(({ type }) => type === proto.FieldType.TIMESTAMP).map((field) => field.name),
    ),
    treatments,
    fields: spec.fields.map((field, at) => ({
      name: field.name,
      nullable: field.nullable,
      isEventTime: field.name === spec.eventTimeField,
      inherited: field.name in Object.prototype,
      treated: treated.has(at),
      make: compileField(field),
    })),
    names: new Set([...spec.fields.map((field) => field.name), ...spec.retiredFields]),
    rejectExtra: spec.extraFields !== proto.ExtraFields.IGNORE,
    eventTimeField: spec.eventTimeField,
    keyAt: spec.fields.findIndex((field) => field.name === spec.keyField),
    futureSkewUs: Number(spec.maxFutureSkewUs) || futureSkewDefaultUs,
    latenessMaxUs: Number(spec.maxLatenessUs) || Number.POSITIVE_INFINITY,
  };
  return {
    source: name,
    version,
    spec,
    codec,
    partitions: Math.min(Math.max(spec.partitions, 1), 64),
    isCorrectable: compiled.isCorrectable,
    open: (capacity) => new Rowing(compiled, capacity),
  };
}

class Rowing implements RowBuilder {
  count = 0;
  id = '';
  readonly ids: string[] = [];
  readonly eventTimeUs: Float64Array;
  readonly hashes: BigUint64Array;
  readonly hash = new PayloadHash();
  readonly #hashHalves: Uint32Array;
  readonly #compiled: Compiled;
  readonly #readers: readonly FieldReader[];
  readonly #given: Given[];
  readonly changes: RowChanges | undefined;
  notes: readonly Note[] = none;
  isDelete = false;
  #eventTimeUs = 0;

  constructor(compiled: Compiled, capacity: number) {
    this.eventTimeUs = new Float64Array(capacity);
    this.hashes = new BigUint64Array(capacity);
    this.#hashHalves = new Uint32Array(this.hashes.buffer);
    this.#compiled = compiled;
    if (compiled.isCorrectable)
      this.changes = { operations: new Uint8Array(capacity), sequences: new BigUint64Array(capacity) };
    this.#readers = compiled.fields.map((field) => field.make(capacity));
    this.#given = compiled.fields.map(() => 'value');
  }

  get timeUs(): number {
    return this.#eventTimeUs;
  }

  read(event: RawEvent, limits: TimeLimits): Problem | null {
    this.id = event.id;
    const unknown = operationProblem(event.operation);
    if (unknown !== undefined) return problem('INVALID_ARGUMENT', 'operation', unknown);
    this.isDelete = event.operation === 'delete';
    if (this.isDelete) return this.#readDelete();
    if (event.payload.length > eventBytesMax) {
      return problem(
        'EVENT_TOO_LARGE',
        '',
        `the payload has ${event.payload.length} bytes, more than the limit of ${eventBytesMax}; send less`,
      );
    }
    const opened = this.#open(event);
    if (opened instanceof Problem) return opened;
    const { id, eventTimeUs, fields, isDelete } = opened;
    this.id = id;
    this.isDelete = isDelete;
    if (isDelete) return this.#readDelete();
    return this.#checkId() ?? this.#readTime(fields, eventTimeUs, limits) ?? this.#readFields(fields);
  }

  keep(change?: { readonly operation: number; readonly sequence: bigint }): void {
    const row = this.count++;
    if (change !== undefined && this.changes !== undefined) {
      this.changes.operations[row] = change.operation;
      this.changes.sequences[row] = change.sequence;
    }
    this.ids.push(this.id);
    this.eventTimeUs[row] = this.#eventTimeUs;
    this.#hashHalves[row * 2] = this.hash.lo;
    this.#hashHalves[row * 2 + 1] = this.hash.hi;
  }

  columns(rows: Rows): Map<string, Column> {
    return new Map(
      this.#compiled.fields.map((field, at) => [field.name, (this.#readers[at] as FieldReader).column(rows)]),
    );
  }

  live(): ReadonlyMap<string, Column> {
    return new Map(this.#compiled.fields.map(({ name }, at) => [name, (this.#readers[at] as FieldReader).live()]));
  }

  scalar(field: string, row: number): Scalar {
    const at = this.#compiled.fields.findIndex(({ name }) => name === field);
    return this.#readers[at]?.scalar(row) ?? null;
  }

  partitionKey(row: number): string {
    return this.#readers[this.#compiled.keyAt]?.keyText(row) ?? (this.ids[row] as string);
  }

  size(row: number): number {
    let bytes = 24 + (this.ids[row] as string).length * 3;
    for (const reader of this.#readers) bytes += reader.size(row);
    return bytes;
  }

  #open(event: RawEvent): Opened | Problem {
    const { debezium, timestamps, codec } = this.#compiled;
    return event.form === 'open' && debezium !== undefined
      ? openDebezium(event, debezium, timestamps)
      : openPayload(event, codec);
  }

  /** Its row is one of nulls, and its hash one that no payload has. */
  #readDelete(): Problem | null {
    if (!this.#compiled.isCorrectable) return notCorrectable(this.#compiled.source);
    const wrong = this.#checkId();
    if (wrong !== null) return wrong;
    this.notes = none;
    this.#eventTimeUs = 0;
    this.hash.lo = 0;
    this.hash.hi = 0;
    for (const reader of this.#readers) reader.setNull(this.count);
    return null;
  }

  #checkId(): Problem | null {
    if (this.id === '')
      return problem(
        'MISSING_EVENT_ID',
        'id',
        'the event has no id; give each event an id that is unique within its source',
      );
    if (this.id.length <= eventIdLengthMax) return null;
    return problem(
      'OUT_OF_RANGE',
      'id',
      `the event id ${quote(this.id)} has ${this.id.length} characters; at most ${eventIdLengthMax} are allowed`,
    );
  }

  #readTime(object: JsonObject, envelopeUs: number, limits: TimeLimits): Problem | null {
    const { eventTimeField: field, futureSkewUs, latenessMaxUs } = this.#compiled;
    const given = field === '' ? undefined : object[field];
    const timeUs = given === undefined || given === null ? envelopeUs : parseTimeUs(given);
    if (timeUs === 0 && (given === undefined || given === null)) return noEventTime(field, given);
    // What is no timestamp at all is the field reader's to tell.
    if (Number.isNaN(timeUs)) return null;
    if (timeUs < eventTimeMinUs || timeUs >= eventTimeEndUs) {
      const bounds = `${formatUs(eventTimeMinUs)} to ${formatUs(eventTimeEndUs)}`;
      return problem(
        'EVENT_TIME_OUT_OF_RANGE',
        field,
        `event time ${timeUs} (${formatUs(timeUs)}) is not in ${bounds}; send UTC microseconds`,
      );
    }
    if (timeUs > limits.nowUs + futureSkewUs) {
      const skew = `${futureSkewUs / 1e6} s`;
      return problem(
        'FUTURE_EVENT',
        field,
        `event time ${formatUs(timeUs)} is more than ${skew} ahead of ${formatUs(limits.nowUs)}; check the publisher's clock and its unit (microseconds)`,
      );
    }
    if (timeUs < limits.frontierUs - latenessMaxUs) {
      return problem(
        'TOO_LATE',
        field,
        `event time ${formatUs(timeUs)} is more than ${latenessMaxUs / 1e6} s behind the source's frontier ${formatUs(limits.frontierUs)}; raise max_lateness_us and replay it`,
      );
    }
    this.#eventTimeUs = timeUs;
    return null;
  }

  #readFields(object: JsonObject): Problem | null {
    const { fields, rejectExtra } = this.#compiled;
    const row = this.count;
    this.hash.start(this.#eventTimeUs);
    let known = 0;
    for (let at = 0; at < fields.length; at++) {
      const field = fields[at] as Field;
      const reader = this.#readers[at] as FieldReader;
      const value = field.inherited && !Object.hasOwn(object, field.name) ? undefined : object[field.name];
      if (value !== undefined) known++;
      if (field.treated) this.#given[at] = value === undefined ? 'absent' : value === null ? 'null' : 'value';
      if (value === undefined || value === null) {
        if (field.treated) {
          reader.setNull(row);
          continue;
        }
        if (!field.nullable && !(field.isEventTime && this.#fillTime(reader, row)))
          return absent(field.name, value, object);
        if (field.nullable) reader.setNull(row);
        continue;
      }
      reader.clear(row);
      const wrong = reader.read(value, row, this.hash);
      if (wrong !== null) return wrong;
    }
    if (rejectExtra && countMembers(object) !== known) {
      const extra = this.#extra(object);
      if (extra !== null) return extra;
    }
    return this.#compiled.treatments.length > 0 ? this.#treat(row) : null;
  }

  /** Missing and far-out values; after every field was read, as the key may come last. */
  #treat(row: number): Problem | null {
    const notes: Note[] = [];
    this.notes = notes;
    const context = {
      row,
      timeUs: this.#eventTimeUs,
      key: () => this.#readers[this.#compiled.keyAt]?.keyText(row) ?? '',
    };
    for (const treatment of this.#compiled.treatments) {
      const reader = this.#readers[treatment.at] as FieldReader;
      const wrong = treatment.apply(reader, this.#given[treatment.at] as Given, context, (note) => notes.push(note));
      if (wrong !== null) return wrong;
    }
    return null;
  }

  /** An event-time field that is left out takes the envelope's time. */
  #fillTime(reader: FieldReader, row: number): boolean {
    reader.clear(row);
    return reader.read(this.#eventTimeUs, row, this.hash) === null;
  }

  /** Null when everything that is not in the schema was once, and may still come. */
  #extra(object: JsonObject): Problem | null {
    const extra = Object.keys(object).find((name) => !this.#compiled.names.has(name));
    if (extra === undefined) return null;
    return problem(
      'EXTRA_FIELD',
      extra,
      `field "${extra}" is not in the schema of source "${this.#compiled.source}"; remove it, add it to the schema, or set extra_fields to ignore`,
    );
  }
}

function countMembers(object: JsonObject): number {
  let members = 0;
  for (const _name in object) members++;
  return members;
}
