import { definitions } from '@millrace/contracts';
import { fieldNames, MeshError } from '@millrace/kernel';
import { toJson } from './convert.ts';
import { type InputRow, Instant, type RowReader } from './rows.ts';
import { toTimeUs } from './times.ts';

const { BOOL, INT64, DOUBLE, STRING, TIMESTAMP } = definitions.FieldType;
const { SECONDS, MILLISECONDS, MONTH_FIRST, DAY_FIRST } = definitions.TimeFormat;

export interface InferredColumn {
  readonly column: string;
  /** The column's name as a field's. */
  readonly field: string;
  readonly type: definitions.FieldType;
  readonly nullable: boolean;
  readonly nulls: number;
  /** Counted up to `distinctMax`. */
  readonly distinct: number;
  /** Up to five. */
  readonly examples: readonly string[];
}

export interface InferredSchema {
  readonly rows: number;
  /** Whether that was the whole file. */
  readonly complete: boolean;
  readonly badRows: number;
  readonly columns: readonly InferredColumn[];
  readonly timeFormat: definitions.TimeFormat;
  /** Texts that look like null: with them a column would be a number or a time. */
  readonly nullValues: readonly string[];
  /** Values of the first of `eventTimes` that no event may have: before 1970 or in the future. */
  readonly timesOutside: number;
  /** Columns that can say when a row happened, the fullest first. */
  readonly eventTimes: readonly string[];
  /** Columns that many rows share, by which features could be grouped; the best first. */
  readonly keys: readonly string[];
  /** Columns whose values are all there and all different. */
  readonly ids: readonly string[];
}

const distinctMax = 10_000;
const rowsDefault = 100_000;
const nullLike = /^(n\/?a|nan|null|none|nil|\\n|-|--|\?)$/i;

/** Reads up to `rowsMax` rows and says what a source of them would look like. */
export async function inferSchema(reader: RowReader, rowsMax: number = rowsDefault): Promise<InferredSchema> {
  const profiles = new Map<string, Profile>(reader.columns?.map((column) => [column, new Profile()]));
  let rows = 0;
  let badRows = 0;
  let complete = true;
  let firstBad = '';
  outer: for await (const chunk of reader.chunks()) {
    for (const row of chunk.rows) {
      if (rows + badRows >= rowsMax) {
        complete = false;
        break outer;
      }
      if (row.t === 'bad') {
        if (badRows++ === 0) firstBad = row.message;
      } else addRow(profiles, row, rows++);
    }
  }
  if (rows === 0) {
    const why = firstBad === '' ? 'there are none' : firstBad;
    throw new MeshError('MALFORMED_PAYLOAD', `no row could be read: ${why}`, { badRows });
  }
  return conclude(profiles, { rows, badRows, complete });
}

function addRow(profiles: Map<string, Profile>, row: Extract<InputRow, { t: 'row' }>, before: number): void {
  for (const [column, value] of Object.entries(row.fields)) {
    let profile = profiles.get(column);
    if (profile === undefined) {
      // the rows before had no such member
      profile = new Profile(before);
      profiles.set(column, profile);
    }
    profile.add(value, before + 1);
  }
}

/** What the values of one column are. */
class Profile {
  seen: number;
  nulls: number;
  texts = 0;
  ints = 0;
  floats = 0;
  bools = 0;
  objects = 0;
  empties = 0;
  readonly times = { iso: 0, monthFirst: 0, dayFirst: 0, native: 0 };
  smallest = Number.POSITIVE_INFINITY;
  largest = Number.NEGATIVE_INFINITY;
  timesOutside = 0;
  readonly nullLikes = new Map<string, number>();
  readonly distinct = new Set<string>();

  constructor(before = 0) {
    this.seen = before;
    this.nulls = before;
  }

  add(value: unknown, row: number): void {
    // members that rows in between left out
    this.nulls += row - 1 - this.seen;
    this.seen = row;
    if (value === null || value === undefined) {
      this.nulls++;
      return;
    }
    if (value === '') {
      this.empties++;
      return;
    }
    const text =
      value instanceof Instant ? String(value.us) : typeof value === 'object' ? toJson(value) : String(value);
    if (this.distinct.size < distinctMax) this.distinct.add(text);
    this.#classify(value, text);
  }

  #classify(value: unknown, text: string): void {
    if (value instanceof Instant) this.#time('native', value.us);
    else if (typeof value === 'boolean') this.bools++;
    else if (typeof value === 'bigint') this.#number(Number(value), true);
    else if (typeof value === 'number') this.#number(value, Number.isInteger(value));
    else if (typeof value === 'object') this.objects++;
    else this.#text(text.trim());
  }

  #time(kind: 'iso' | 'native', us: number): void {
    this.times[kind]++;
    if (us < 0 || us > Date.now() * 1000) this.timesOutside++;
  }

  #number(value: number, whole: boolean): void {
    if (whole) this.ints++;
    else this.floats++;
    this.smallest = Math.min(this.smallest, value);
    this.largest = Math.max(this.largest, value);
  }

  #text(text: string): void {
    if (nullLike.test(text)) this.nullLikes.set(text, (this.nullLikes.get(text) ?? 0) + 1);
    else if (/^[+-]?(0|[1-9]\d{0,18})$/.test(text)) this.#number(Number(text), true);
    else if (/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) && !/^[+-]?0\d/.test(text))
      this.#number(Number(text), false);
    else if (/^(true|false)$/i.test(text)) this.bools++;
    else this.#timeOrText(text);
  }

  #timeOrText(text: string): void {
    const us = /^[+-]?\d+$/.test(text) ? undefined : toTimeUs(text, definitions.TimeFormat.UNSPECIFIED);
    if (us !== undefined) this.#time('iso', us);
    else {
      if (toTimeUs(text, MONTH_FIRST) !== undefined) this.times.monthFirst++;
      if (toTimeUs(text, DAY_FIRST) !== undefined) this.times.dayFirst++;
      this.texts++;
    }
  }
}

interface Verdict {
  readonly type: definitions.FieldType;
  readonly timeFormat: definitions.TimeFormat;
}

const as = (type: definitions.FieldType, timeFormat: definitions.TimeFormat = 0): Verdict => ({ type, timeFormat });

/** The narrowest type that holds every value. */
function verdictOf(profile: Profile, column: string): Verdict {
  const { ints, floats, bools, objects, texts, times } = profile;
  const values = ints + floats + bools + objects + texts + times.iso + times.native;
  if (values === 0) return as(STRING);
  if (times.iso + times.native === values) return as(TIMESTAMP);
  // what both orders read is taken for the American one only when nothing contradicts it
  if (times.monthFirst === values) return as(TIMESTAMP, MONTH_FIRST);
  if (times.dayFirst === values) return as(TIMESTAMP, DAY_FIRST);
  if (bools === values) return as(BOOL);
  if (ints === values) return timeByNumber(profile, column) ?? as(INT64);
  if (ints + floats === values) return as(DOUBLE);
  return as(STRING);
}

/** Whole numbers whose column says that they are times, in the unit that makes them lie in this age. */
function timeByNumber({ smallest, largest }: Profile, column: string): Verdict | undefined {
  if (!/(^|_)(time|timestamp|ts|date|at|epoch|created|updated|when)(_|$)/.test(fieldNames([column])[0] ?? ''))
    return undefined;
  const within = (unit: number) => smallest >= 3e8 * unit && largest < 5e9 * unit;
  if (within(1)) return as(TIMESTAMP, SECONDS);
  if (within(1e3)) return as(TIMESTAMP, MILLISECONDS);
  return within(1e6) ? as(TIMESTAMP) : undefined;
}

function conclude(
  profiles: ReadonlyMap<string, Profile>,
  seen: { rows: number; badRows: number; complete: boolean },
): InferredSchema {
  const entries = [...profiles];
  const names = fieldNames(entries.map(([column]) => column));
  for (const [, profile] of entries) {
    profile.nulls += seen.rows - profile.seen;
    profile.seen = seen.rows;
  }
  const verdicts = entries.map(([column, profile]) => verdictOf(profile, column));
  const timeFormat = verdicts.find((verdict) => verdict.timeFormat !== 0)?.timeFormat ?? 0;
  const nullValues = new Set<string>();
  const columns = entries.map(([column, profile], at): InferredColumn => {
    let { type, timeFormat: own } = verdicts[at] as Verdict;
    // one file has one format of times: a column in another one stays what it is
    if (own !== 0 && own !== timeFormat) type = own === SECONDS || own === MILLISECONDS ? INT64 : STRING;
    const nullLikes = [...profile.nullLikes.keys()];
    if (type !== STRING) for (const text of nullLikes) nullValues.add(text);
    const missing = profile.nulls + (type === STRING ? 0 : profile.empties);
    const likeNull = type === STRING ? 0 : sum(profile.nullLikes.values());
    return {
      column,
      field: names[at] ?? column,
      type,
      nullable: missing + likeNull > 0 || (type === STRING && profile.empties > 0),
      nulls: missing + likeNull + (type === STRING ? profile.empties : 0),
      distinct: profile.distinct.size,
      examples: [...profile.distinct].slice(0, 5),
    };
  });
  const found = candidates(columns, seen.rows);
  const timesOutside = profiles.get(found.eventTimes[0] ?? '')?.timesOutside ?? 0;
  return { ...seen, columns, timeFormat, nullValues: [...nullValues], timesOutside, ...found };
}

function candidates(columns: readonly InferredColumn[], rows: number) {
  const eventTimes = columns
    .filter(({ type, nulls }) => type === TIMESTAMP && nulls <= rows * 0.05)
    .sort((a, b) => a.nulls - b.nulls);
  const keys = columns
    .filter(
      ({ type, nulls, distinct }) =>
        (type === STRING || type === INT64) && nulls === 0 && distinct > 1 && distinct <= rows / 2,
    )
    .sort((a, b) => keyScore(b) - keyScore(a));
  const ids = columns.filter(
    ({ type, nulls, distinct }) => (type === STRING || type === INT64) && nulls === 0 && rows > 1 && distinct === rows,
  );
  const names = (list: readonly InferredColumn[]) => list.map(({ column }) => column);
  return { eventTimes: names(eventTimes), keys: names(keys), ids: names(ids) };
}

/** Text before numbers, names that say so before others, many values before few. */
function keyScore({ field, type, distinct }: InferredColumn): number {
  const named = /(^|_)(id|key|code|symbol|user|customer|account|device|station|airport)(_|$)/.test(field) ? 100 : 0;
  return named + (type === STRING ? 50 : 0) + Math.floor(Math.log2(distinct));
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
