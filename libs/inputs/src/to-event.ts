import { definitions } from '@millrace/contracts';
import { fieldName, joinedId, MeshError, setField } from '@millrace/kernel';
import { type Convert, converterOf, plain, toJson } from './convert.ts';
import type { InputRow } from './rows.ts';
import { toTimeUs } from './times.ts';

/** A row as an event for a source: what ingestion validates. */
export interface RowEvent {
  readonly id: string;
  /** 0 where the source names an event-time field. */
  readonly eventTimeUs: number;
  readonly json: Uint8Array;
  /** `upsert`, `delete`, or what the operation column says that is neither; left out without such a column. */
  readonly operation?: string;
}

export interface RowMapping {
  /** `idBase` makes ids of rows without id columns: the same content gives the same ids. */
  toEvent(row: InputRow, idBase: string): RowEvent;
}

type Target = { readonly t: 'field'; readonly field: string; readonly convert: Convert } | { readonly t: 'drop' };

/**
 * Decides for each column which field it fills. With known columns INVALID_ARGUMENT says beforehand which of them fit no field and which
 * fields no column fills, as otherwise every row would be rejected for it; JSON rows are judged one by one.
 */
export function compileMapping(
  source: string,
  spec: definitions.Source,
  format: definitions.RowFormat,
  columns: readonly string[] | undefined,
): RowMapping {
  const targets = new Map<string, Target | undefined>();
  const fields = new Map(spec.fields.map((field) => [field.name, field]));
  const dropUnknown = spec.extraFields === definitions.ExtraFields.IGNORE;
  const rowTimeUs = Number(format.rowTimeUs);
  const { operationColumn } = format;
  const special = new Set([...format.idColumns, ...[format.timeColumn, operationColumn].filter((name) => name !== '')]);
  for (const [column, field] of format.columns) {
    if (field !== '' && !fields.has(field)) throw unknownField(source, column, field, spec);
  }
  if (operationColumn !== '' && spec.changes !== definitions.Changes.UPSERT)
    throw notCorrectable(source, operationColumn);
  if (columns !== undefined) checkColumns({ source, spec, format, columns, targetOf });
  if (spec.eventTimeField === '' && format.timeColumn === '' && rowTimeUs === 0) throw noTime(source);

  return {
    toEvent(row, idBase) {
      if (row.t === 'bad') return { id: `${idBase}-${row.number}`, eventTimeUs: 0, json: Buffer.from(row.raw) };
      const event: Record<string, unknown> = {};
      for (const column in row.fields) {
        if (column === operationColumn && column !== '') continue;
        const target = targetOf(column);
        const value = row.fields[column];
        if (target === undefined) setField(event, column, plain(value));
        else if (target.t === 'field') event[target.field] = target.convert(value);
      }
      const id = format.idColumns.length === 0 ? `${idBase}-${row.number}` : rowId(row.fields, format.idColumns);
      const given = format.timeColumn === '' ? undefined : row.fields[format.timeColumn];
      const time = toTimeUs(given, format.timeFormat);
      // what is no time is kept for those who look at it in quarantine
      if (time === undefined && given !== '' && given !== undefined && given !== null)
        setField(event, format.timeColumn, plain(given));
      return {
        id,
        eventTimeUs: time ?? rowTimeUs,
        json: Buffer.from(isFlat(event) ? JSON.stringify(event) : toJson(event)),
        ...(operationColumn === '' ? {} : { operation: operationOf(row.fields[operationColumn]) }),
      };
    },
  };

  /** Undefined: no field is meant; the validator shall see the column. */
  function targetOf(column: string): Target | undefined {
    const known = targets.get(column);
    if (known !== undefined || targets.has(column)) return known;
    const found = findTarget(column);
    targets.set(column, found);
    return found;
  }

  function findTarget(column: string): Target | undefined {
    const declared = format.columns.get(column);
    if (declared === '') return { t: 'drop' };
    const field = fields.get(declared ?? column) ?? fields.get(fieldName(column));
    if (field !== undefined) return { t: 'field', field: field.name, convert: converterOf(field, format) };
    return dropUnknown || special.has(column) ? { t: 'drop' } : undefined;
  }
}

const operationNames: Readonly<Record<string, 'upsert' | 'delete'>> = {
  insert: 'upsert',
  update: 'upsert',
  upsert: 'upsert',
  delete: 'delete',
  c: 'upsert',
  r: 'upsert',
  u: 'upsert',
  i: 'upsert',
  d: 'delete',
};

/** An empty cell is an upsert. What is no operation stays: ingestion says what is wrong. */
export function operationOf(value: unknown): string {
  const text = String(plain(value ?? '')).trim();
  return text === '' ? 'upsert' : (operationNames[text.toLowerCase()] ?? text);
}

/** Most rows are: they need no look inside. */
function isFlat(event: Readonly<Record<string, unknown>>): boolean {
  for (const name in event) if (typeof event[name] === 'object' && event[name] !== null) return false;
  return true;
}

/** The values of the columns as `joinedId` puts them together; empty when one has no value. */
export function rowId(fields: Readonly<Record<string, unknown>>, columns: readonly string[]): string {
  const values = columns.map((column) => {
    const value = plain(fields[column] ?? '');
    return typeof value === 'object' ? toJson(value) : String(value);
  });
  return joinedId(values);
}

function checkColumns(given: {
  readonly source: string;
  readonly spec: definitions.Source;
  readonly format: definitions.RowFormat;
  readonly columns: readonly string[];
  targetOf(column: string): Target | undefined;
}): void {
  const { source, spec, format, columns, targetOf } = given;
  const there = new Set(columns);
  const named = [
    ...format.columns.keys(),
    ...format.idColumns,
    ...[format.timeColumn, format.operationColumn].filter((name) => name !== ''),
  ];
  const absent = named.find((column) => !there.has(column));
  if (absent !== undefined)
    throw new MeshError('INVALID_ARGUMENT', `there is no column "${absent}"; columns: ${columns.join(', ')}`, {
      column: absent,
    });
  const filled = new Map<string, string>();
  for (const column of columns) {
    if (column === format.operationColumn) continue;
    const target = targetOf(column);
    if (target === undefined) throw unknownColumn(source, column);
    if (target.t !== 'field') continue;
    const other = filled.get(target.field);
    if (other !== undefined)
      throw new MeshError(
        'INVALID_ARGUMENT',
        `columns "${other}" and "${column}" both fill field "${target.field}" of source "${source}"; map one of them elsewhere or drop it with --map "${column}="`,
        { column, field: target.field },
      );
    filled.set(target.field, column);
  }
  const unfilled = spec.fields.find(
    ({ name, nullable }) =>
      !nullable &&
      !filled.has(name) &&
      !(name === spec.eventTimeField && (format.timeColumn !== '' || format.rowTimeUs !== 0n)),
  );
  if (unfilled !== undefined)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `no column fills field "${unfilled.name}" of source "${source}" (columns: ${columns.join(', ')}); name it with --map <column>=${unfilled.name} or make the field nullable`,
      { source, field: unfilled.name },
    );
}

function unknownColumn(source: string, column: string): MeshError {
  return new MeshError(
    'INVALID_ARGUMENT',
    `column "${column}" fits no field of source "${source}"; name its field with --map "${column}=<field>", drop it with --map "${column}=", or set extra_fields to ignore`,
    { source, column },
  );
}

function unknownField(source: string, column: string, field: string, { fields }: definitions.Source): MeshError {
  return new MeshError(
    'INVALID_ARGUMENT',
    `column "${column}" is mapped to "${field}", which is not a field of source "${source}" (fields: ${fields.map(({ name }) => name).join(', ')})`,
    { source, column, field },
  );
}

function notCorrectable(source: string, column: string): MeshError {
  return new MeshError(
    'INVALID_ARGUMENT',
    `column "${column}" is to say what becomes of events, but those of source "${source}" stay as they are; define the source with changes: upsert`,
    { source, column },
  );
}

function noTime(source: string): MeshError {
  return new MeshError(
    'INVALID_ARGUMENT',
    `source "${source}" names no event-time field; name the column that holds the time with --time <column>, or one time for all rows with --at <time>`,
    { source },
  );
}
