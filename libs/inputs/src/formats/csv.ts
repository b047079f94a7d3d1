import { pipeline } from 'node:stream';
import { MeshError, setField } from '@millrace/kernel';
import { CsvError, type Options, parse } from 'csv-parse';
import { openBytes } from '../byte-stream.ts';
import type { Compression } from '../format.ts';
import { type InputRow, inChunks, type RowReader } from '../rows.ts';

export interface CsvOptions {
  readonly delimiter: string;
  readonly encoding: 'utf8' | 'latin1';
}

/** A record longer than this is taken for a quote that was never closed. */
const recordBytesMax = 1024 * 1024;
const headerBytesMax = 1024 * 1024;
/** More broken rows in a run than this, and the file is not what it says. */
const brokenRunMax = 10_000;
const delimiters = [',', ';', '\t', '|'] as const;

/** RFC 4180 with a header line. Every value is text; a row of another width or with a broken quote is a bad row. */
export async function openCsv(path: string, compression: Compression, options: CsvOptions): Promise<RowReader> {
  const header = await readHeader(path, compression, options);
  return {
    columns: header.columns,
    chunks() {
      const source = openBytes(path, compression);
      const bad: InputRow[] = [];
      const parser = parse({
        ...parseOptions(header.delimiter, options),
        info: true,
        skip_records_with_error: true,
        on_skip(error, raw = '') {
          bad.push(brokenRow(error, raw));
          if (bad.length > brokenRunMax) parser.destroy(notCsv(path, bad[0]));
        },
      });
      pipeline(source.stream, parser, () => {});
      return inChunks(rowsOf(parser, header.columns, bad), source.bytesRead);
    },
  };
}

function parseOptions(delimiter: string, { encoding }: CsvOptions): Options {
  return {
    bom: true,
    delimiter,
    encoding: encoding === 'latin1' ? 'latin1' : 'utf8',
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: recordBytesMax,
  };
}

interface Parsed {
  readonly record: readonly string[];
  readonly info: { readonly lines: number };
}

async function* rowsOf(
  parser: AsyncIterable<unknown>,
  columns: readonly string[],
  bad: InputRow[],
): AsyncGenerator<InputRow> {
  let number = 0;
  let isHeader = true;
  for await (const parsed of parser as AsyncIterable<Parsed>) {
    if (bad.length > 0) yield* bad.splice(0);
    if (isHeader) {
      isHeader = false;
      continue;
    }
    number++;
    yield toRow(parsed, number, columns);
  }
  yield* bad.splice(0);
}

function toRow({ record, info }: Parsed, number: number, columns: readonly string[]): InputRow {
  const raw = () => record.join(',');
  if (record.length !== columns.length) {
    const message = `line ${info.lines} has ${record.length} columns and the header has ${columns.length}; quote values that hold the delimiter`;
    return { t: 'bad', number, raw: raw(), message };
  }
  const fields: Record<string, unknown> = {};
  for (let at = 0; at < columns.length; at++) {
    const value = record[at] as string;
    if (value.includes('\ufffd')) {
      const message = `line ${info.lines}, column "${columns[at]}" is not UTF-8; encode the file as UTF-8 or name its encoding, latin1`;
      return { t: 'bad', number, raw: raw(), message };
    }
    setField(fields, columns[at] as string, value);
  }
  return { t: 'row', number, fields };
}

/** It has no place among the rows that were counted, so its line stands for its number. */
function brokenRow(error: CsvError | undefined, raw: string): InputRow {
  const line = Number(error?.lines ?? 0);
  const detail = (error?.message ?? 'it cannot be read').replace(/^[^:]*: /, '');
  return {
    t: 'bad',
    number: line,
    raw,
    message: `line ${line} is not CSV: ${detail}; double the quotes inside quotes`,
  };
}

function notCsv(path: string, first: InputRow | undefined): MeshError {
  const detail = first?.t === 'bad' ? first.message : '';
  return new MeshError('MALFORMED_PAYLOAD', `"${path}" has ${brokenRunMax} broken rows in a run: ${detail}`, { path });
}

async function readHeader(path: string, compression: Compression, options: CsvOptions) {
  const text = await headText(path, compression, options);
  if (text.trim() === '')
    throw new MeshError('MALFORMED_PAYLOAD', `"${path}" is empty; a CSV file begins with a line of column names`, {
      path,
    });
  const delimiter = options.delimiter || sniffDelimiter(text);
  const columns = await firstRecord(text, delimiter, options, path);
  const names = columns.map((name, at) => name.trim() || `column_${at + 1}`);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined)
    throw new MeshError('MALFORMED_PAYLOAD', `"${path}" has two columns "${twice}"; give each its own name`, {
      path,
      column: twice,
    });
  return { columns: names, delimiter };
}

async function headText(path: string, compression: Compression, { encoding }: CsvOptions): Promise<string> {
  const { stream } = openBytes(path, compression);
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of stream as AsyncIterable<Buffer>) {
    parts.push(part);
    bytes += part.length;
    if (bytes >= headerBytesMax || part.includes(10)) break;
  }
  return Buffer.concat(parts).toString(encoding);
}

/** The one that the header line holds most often. */
function sniffDelimiter(text: string): string {
  const line = /^\ufeff?[^\r\n]*/.exec(text)?.[0] ?? '';
  const counts = delimiters.map((delimiter) => line.split(delimiter).length - 1);
  return delimiters[counts.indexOf(Math.max(...counts))] ?? ',';
}

async function firstRecord(text: string, delimiter: string, options: CsvOptions, path: string): Promise<string[]> {
  const parser = parse({ ...parseOptions(delimiter, options), to: 1 });
  parser.end(Buffer.from(text, options.encoding));
  try {
    for await (const record of parser as AsyncIterable<string[]>) return record;
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    throw new MeshError(
      'MALFORMED_PAYLOAD',
      `the header of "${path}" is not CSV: ${cause.message}`,
      { path },
      { cause },
    );
  }
  throw new MeshError('MALFORMED_PAYLOAD', `"${path}" has no header line`, { path });
}
