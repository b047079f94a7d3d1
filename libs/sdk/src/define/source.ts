import { definitions } from '@millrace/contracts';
import { parseDurationUs } from '@millrace/kernel';
import { type BatchInputSpec, batchToProto } from './batch.ts';
import { type ExpectationSpec, expectationsToProto } from './expectations.ts';
import { type FieldSpec, fieldToProto } from './fields.ts';
import { fieldsOfPayload, type PayloadSpec, payloadToProto } from './payload.ts';
import { type Defined, define, type FieldTypeName, type MetadataOptions, type SchemaTypeName } from './types.ts';

export type Fields = Readonly<Record<string, FieldSpec>>;

/**
 * The names of the fields whose type is one of T: unless it is given, a single value's. Any name where the fields are those of a payload's
 * schema.
 */
export type FieldOf<F extends Fields, T extends SchemaTypeName = FieldTypeName> = string extends keyof F
  ? string
  : { [K in keyof F & string]: F[K]['type'] extends T ? K : never }[keyof F & string];

export interface Source<F extends Fields = Fields> extends Defined {
  readonly kind: 'source';
  readonly name: string;
  readonly fields: F;
}

export interface SourceOptions<F extends Fields> extends MetadataOptions {
  /** Left out: all that the payload's schema has. */
  readonly fields?: F;
  /** How events may be encoded beside JSON; `'json'` unless set. */
  readonly payload?: PayloadSpec;
  /** The TIMESTAMP field that says when an event happened; left out: the envelope's event time. */
  readonly eventTime?: FieldOf<F, 'TIMESTAMP'>;
  /** The field whose value spreads events over partitions. */
  readonly key?: FieldOf<F>;
  /** What happens to fields that the schema does not name; `'reject'` unless set. */
  readonly extraFields?: 'reject' | 'ignore';
  /** How far past the wall clock an event time may lie, as `'5m'`. */
  readonly maxFutureSkew?: string;
  /** How far behind the source's frontier an event time may lie; left out: no limit. */
  readonly maxLateness?: string;
  readonly partitions?: number;
  /** What is expected of the events, by name. */
  readonly expectations?: Readonly<Record<string, ExpectationSpec<keyof F & string>>>;
  /** Where rows come from beside the stream, by name: files, buckets, URLs, ClickHouse; each on its schedule. */
  readonly batch?: Readonly<Record<string, BatchInputSpec>>;
  /**
   * `'upsert'`: an event with a known id takes the place of the one before, and events may be deleted by their id. `'append'` unless set: such an
   * event is a redelivery, or a conflict. The same for as long as the source lives.
   */
  readonly changes?: 'append' | 'upsert';
  /** Events over NATS are change events of Debezium; `id` names the table's primary key. Needs `changes: 'upsert'`. */
  readonly debezium?: { readonly id: readonly string[] };
  /** Which schemas the next schema must fit; `'backward'` unless set. */
  readonly compatibility?: CompatibilityName;
}

export type CompatibilityName =
  | 'none'
  | 'backward'
  | 'backward_transitive'
  | 'forward'
  | 'forward_transitive'
  | 'full'
  | 'full_transitive';

/** UNSPECIFIED when it is left out. */
export function compatibilityToProto(name: CompatibilityName | undefined): definitions.Compatibility {
  return definitions.Compatibility[(name ?? 'unspecified').toUpperCase() as keyof typeof definitions.Compatibility];
}

/** UNSPECIFIED when it is left out. */
export function changesToProto(changes: 'append' | 'upsert' | undefined): definitions.Changes {
  return definitions.Changes[(changes ?? 'unspecified').toUpperCase() as keyof typeof definitions.Changes];
}

export function debeziumToProto(
  given: { readonly id: readonly string[] } | undefined,
): definitions.Debezium | undefined {
  return given && { idColumns: [...given.id] };
}

/** A named stream of events with a schema. */
export function source<const F extends Fields = Fields>(name: string, options: SourceOptions<F>): Source<F> {
  const payload = payloadToProto(options.payload, process.cwd());
  const fields = options.fields
    ? Object.entries(options.fields).map(([field, fieldSpec]) => fieldToProto(field, fieldSpec))
    : fieldsOfPayload(name, payload, options.eventTime ?? '');
  const spec: definitions.Source = {
    fields,
    payload,
    eventTimeField: options.eventTime ?? '',
    keyField: options.key ?? '',
    extraFields: options.extraFields === 'ignore' ? definitions.ExtraFields.IGNORE : definitions.ExtraFields.REJECT,
    maxFutureSkewUs: durationUs(options.maxFutureSkew),
    maxLatenessUs: durationUs(options.maxLateness),
    partitions: options.partitions ?? 0,
    expectations: expectationsToProto(options.expectations),
    compatibility: compatibilityToProto(options.compatibility),
    retiredFields: [],
    changes: changesToProto(options.changes),
    debezium: debeziumToProto(options.debezium),
    batchInputs: batchToProto(options.batch),
  };
  return {
    kind: 'source',
    name,
    fields: options.fields ?? (namedTypes(fields) as F),
    definition: define(name, options, { $case: 'source', value: spec }),
  };
}

function namedTypes(fields: readonly definitions.SourceField[]): Fields {
  const names = new Map(Object.entries(definitions.FieldType).map(([type, value]) => [value, type as FieldTypeName]));
  return Object.fromEntries(
    fields.map(({ name, type, nullable }) => [name, { type: names.get(type) ?? 'STRING', nullable }]),
  );
}

function durationUs(text: string | undefined): bigint {
  return text === undefined ? 0n : BigInt(parseDurationUs(text));
}
