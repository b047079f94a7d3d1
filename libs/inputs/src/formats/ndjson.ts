import { createInterface } from 'node:readline';
import { parseExactJson } from '@millrace/kernel';
import { openBytes } from '../byte-stream.ts';
import { toJson } from '../convert.ts';
import type { Compression } from '../format.ts';
import { type InputRow, inChunks, type RowReader } from '../rows.ts';

/** One JSON object a line; blank lines do not count. */
export function openNdjson(path: string, compression: Compression, encoding: 'utf8' | 'latin1'): RowReader {
  return {
    columns: undefined,
    chunks() {
      const source = openBytes(path, compression);
      source.stream.setEncoding(encoding);
      return inChunks(
        rowsOf(createInterface({ input: source.stream, crlfDelay: Number.POSITIVE_INFINITY }), source.stream),
        source.bytesRead,
      );
    },
  };
}

async function* rowsOf(lines: AsyncIterable<string>, stream: NodeJS.EventEmitter): AsyncGenerator<InputRow> {
  let failure: unknown;
  // readline ends quietly when its input fails
  stream.once('error', (cause) => {
    failure = cause;
  });
  let number = 0;
  for await (const text of lines) {
    if (text.trim() !== '') yield toRow(text, ++number);
  }
  if (failure !== undefined) throw failure;
}

function toRow(text: string, number: number): InputRow {
  try {
    return objectRow(parseExactJson(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text), number, text);
  } catch (cause) {
    return {
      t: 'bad',
      number,
      raw: text,
      message: `row ${number} is not JSON: ${(cause as Error).message}; write one object a line`,
    };
  }
}

/** A JSON value as a row; anything but an object is a bad one. */
export function objectRow(value: unknown, number: number, raw: string = toJson(value)): InputRow {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return { t: 'row', number, fields: value as Readonly<Record<string, unknown>> };
  return {
    t: 'bad',
    number,
    raw,
    message: `row ${number} is not a JSON object; write each row as an object of fields`,
  };
}
