import { definitions } from '@millrace/contracts';
import { parseDurationUs } from '@millrace/kernel';

export interface BatchInputSpec {
  /** A file, folder or glob where ingestion runs, an http(s) URL, or s3://bucket/prefix. */
  readonly location?: string;
  /** A SELECT for ClickHouse, in place of a location. */
  readonly query?: string;
  /** Five fields of cron, or six with seconds first, UTC; left out: read when it is asked for. */
  readonly schedule?: string;
  /** csv, ndjson, json, parquet, arrow or avro; told by the name unless set. */
  readonly format?: string;
  /** Column to field where names differ by more than case and punctuation; `''` drops the column. */
  readonly columns?: Readonly<Record<string, string>>;
  /** Columns that make the event id; the content's digest and the row's number unless set. A query needs them. */
  readonly id?: string | readonly string[];
  /** The column with the event time where the source names no event-time field. */
  readonly time?: string;
  /** The column that says what a row is: insert, update or delete, or c, r, u or d. Needs `changes: 'upsert'` of the source. */
  readonly operation?: string;
  readonly timeFormat?: keyof typeof timeFormats;
  /** Texts that stand for null beside the empty one. */
  readonly nulls?: readonly string[];
  readonly delimiter?: string;
  readonly encoding?: 'utf8' | 'latin1';
  /** For a file that was read before with another content; `'new_rows'` unless set. */
  readonly whenChanged?: keyof typeof changePolicies;
  /** Query: the column that grows, a time or a whole number. */
  readonly watermark?: string;
  /** Query: how far behind the largest watermark rows may still appear, as `'1h'`. */
  readonly overlap?: string;
}

export const timeFormats = {
  seconds: definitions.TimeFormat.SECONDS,
  milliseconds: definitions.TimeFormat.MILLISECONDS,
  month_first: definitions.TimeFormat.MONTH_FIRST,
  day_first: definitions.TimeFormat.DAY_FIRST,
} as const;

export const changePolicies = {
  new_rows: definitions.WhenChanged.NEW_ROWS,
  read_again: definitions.WhenChanged.READ_AGAIN,
  ignore: definitions.WhenChanged.IGNORE,
} as const;

export function batchToProto(inputs: Readonly<Record<string, BatchInputSpec>> = {}): definitions.BatchInput[] {
  return Object.entries(inputs).map(([name, given]) => ({
    name,
    location: given.location ?? '',
    query: given.query ?? '',
    schedule: given.schedule ?? '',
    format: {
      format: given.format ?? '',
      columns: new Map(Object.entries(given.columns ?? {})),
      idColumns: typeof given.id === 'string' ? [given.id] : [...(given.id ?? [])],
      timeColumn: given.time ?? '',
      timeFormat: given.timeFormat === undefined ? definitions.TimeFormat.UNSPECIFIED : timeFormats[given.timeFormat],
      nullValues: [...(given.nulls ?? [])],
      delimiter: given.delimiter ?? '',
      encoding: given.encoding ?? '',
      rowTimeUs: 0n,
      operationColumn: given.operation ?? '',
    },
    whenChanged:
      given.whenChanged === undefined ? definitions.WhenChanged.UNSPECIFIED : changePolicies[given.whenChanged],
    watermarkColumn: given.watermark ?? '',
    overlapUs: given.overlap === undefined ? 0n : BigInt(parseDurationUs(given.overlap)),
  }));
}
