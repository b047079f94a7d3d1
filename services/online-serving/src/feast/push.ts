import { definitions, type ingestion } from '@millrace/contracts';
import { MeshError, newId } from '@millrace/kernel';
import type { ViewCatalog } from './feast-book.ts';
import { fieldReader, type ReadField, timeUsOf } from './field-values.ts';
import type { Frame } from './frame.ts';

/** Sources as the registry knows them. */
export interface SourceCatalog {
  source(name: string): definitions.Source | undefined;
  viewNames(): readonly string[];
  refresh(): Promise<void>;
}

/** Hands events to ingestion, and resolves when they are durable. */
export interface EventPublisher {
  publish(source: string, events: readonly ingestion.Event[]): Promise<ingestion.PublishResponse>;
}

export type PushCall = {
  /** Makes ids that are the same when a client tries again; undefined: new ids. */
  readonly idempotencyKey: string | undefined;
};

export type Push = {
  /** `push_source_name`: a source of ours. Throws UNKNOWN_SOURCE. */
  toSource(source: string, to: string, frame: Frame, call: PushCall): Promise<void>;
  /** `feature_view_name`: the events of the view's source. Throws UNKNOWN_FEATURE_VIEW. */
  toView(view: string, frame: Frame, call: PushCall): Promise<void>;
};

/** Feast's columns that are no feature: when it happened, and when the row was made, which only a field of that name takes. */
const eventTimeColumn = 'event_timestamp';
const createdColumn = 'created';
const eventsPerBatch = 10_000;
const rowsMax = 1_000_000;

/** Rows pushed by Feast's clients become events of a source: validated, kept in history, and part of every window that they belong to. */
export function createPush(deps: {
  readonly catalog: ViewCatalog & SourceCatalog;
  readonly publisher: EventPublisher;
}): Push {
  const { catalog, publisher } = deps;

  async function sourceNamed(name: string): Promise<definitions.Source> {
    let source = catalog.source(name);
    if (!source) {
      await catalog.refresh();
      source = catalog.source(name);
    }
    if (source) return source;
    throw new MeshError('UNKNOWN_SOURCE', `unable to find push source "${name}"; apply a source of that name first`, {
      source: name,
    });
  }

  async function publish(name: string, fieldOf: FieldOf, frame: Frame, { idempotencyKey }: PushCall): Promise<void> {
    if (frame.rows > rowsMax) {
      throw new MeshError('LIMIT_EXCEEDED', `df has ${frame.rows} rows and the limit is ${rowsMax}; push it in parts`, {
        rows: frame.rows,
        limit: rowsMax,
      });
    }
    const events = eventsOf(await sourceNamed(name), name, fieldOf, frame, idempotencyKey ?? newId());
    for (let from = 0; from < events.length; from += eventsPerBatch) {
      const batch = events.slice(from, from + eventsPerBatch);
      const { rejections } = await publisher.publish(name, batch);
      if (rejections.length > 0) throw rejected(rejections, from, events.length);
    }
  }

  return {
    async toSource(source, to, frame, call) {
      checkTarget(to);
      await publish(source, (column) => column, frame, call);
    },
    async toView(view, frame, call) {
      let definition: ReturnType<ViewCatalog['view']>;
      try {
        definition = catalog.view(view, '');
      } catch {
        await catalog.refresh();
        definition = catalog.view(view, '');
      }
      const fields = new Map(definition.joinKeys.map((key) => [key.name, key.field]));
      // a feature that is the last value of a field is that field to who writes it
      for (const feature of definition.features)
        if (feature.function === 'last' && feature.filter === '') fields.set(feature.name, feature.field);
      await publish(definition.source, (column) => fields.get(column) ?? column, frame, call);
    },
  };
}

/** The source's field that a column of the frame fills. */
type FieldOf = (column: string) => string;

/** Events always go both to history and to the rows that are served. */
function checkTarget(to: string): void {
  if (to === 'online' || to === 'online_and_offline') return;
  throw new MeshError(
    'INVALID_ARGUMENT',
    to === 'offline'
      ? 'to "offline" is not possible: an event goes to history and to the served features alike; send "online_and_offline"'
      : `to "${to}" is not a push target; send "online" or "online_and_offline"`,
    { field: 'to', value: to },
  );
}

type Column = {
  readonly name: string;
  readonly field: string;
  readonly values: readonly unknown[];
  readonly read: ReadField;
};

function eventsOf(
  source: definitions.Source,
  name: string,
  fieldOf: FieldOf,
  frame: Frame,
  idPrefix: string,
): ingestion.Event[] {
  const times = frame.columns.get(source.eventTimeField) ?? frame.columns.get(eventTimeColumn);
  if (!times) {
    throw new MeshError(
      'MISSING_FIELD',
      `df has no column "${eventTimeColumn}"${source.eventTimeField === '' ? '' : ` or "${source.eventTimeField}"`}; every row needs the time of its event`,
      { column: eventTimeColumn },
    );
  }
  const columns = columnsOf(source, name, fieldOf, frame);
  return Array.from({ length: frame.rows }, (_, row) => {
    const eventTimeUs = timeUsOf(times[row]);
    if (eventTimeUs === undefined) {
      throw new MeshError(
        'WRONG_TYPE',
        `column "${eventTimeColumn}" of row ${row} "${times[row]}" is not a time; write ISO 8601, or seconds since 1970`,
        { column: eventTimeColumn, row },
      );
    }
    const event: Record<string, unknown> = {};
    for (const column of columns) event[column.field] = column.read(column.values[row], column.name, row);
    if (source.eventTimeField !== '') event[source.eventTimeField] = eventTimeUs;
    return {
      id: `${idPrefix}-${row}`,
      eventTimeUs: source.eventTimeField === '' ? BigInt(eventTimeUs) : 0n,
      json: Buffer.from(JSON.stringify(event)),
    };
  });
}

function columnsOf(source: definitions.Source, name: string, fieldOf: FieldOf, frame: Frame): Column[] {
  const types = new Map(source.fields.map((field) => [field.name, field.type]));
  return [...frame.columns].flatMap(([column, values]): Column[] => {
    const field = fieldOf(column);
    const type = types.get(field);
    if (type !== undefined)
      return field === source.eventTimeField ? [] : [{ name: column, field, values, read: fieldReader(type) }];
    if (column === eventTimeColumn || column === createdColumn) return [];
    if (source.extraFields === definitions.ExtraFields.IGNORE) return [];
    throw new MeshError(
      'EXTRA_FIELD',
      `column "${column}" is no field of source "${name}"; it has ${[...types.keys()].map((known) => `"${known}"`).join(', ')}`,
      { column, source: name },
    );
  });
}

function rejected(rejections: readonly ingestion.Rejection[], from: number, rows: number): MeshError {
  const [first] = rejections;
  const row = from + (first?.index ?? 0);
  return new MeshError(
    'INVALID_ARGUMENT',
    `row ${row} was not accepted: ${first?.message}; ${rejections.length} of ${rows} rows went to quarantine, the rest of their batch was taken`,
    { row, field: first?.field ?? '', reason: first?.reason ?? '', rejected: rejections.length },
  );
}
