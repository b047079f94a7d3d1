import { MeshError } from '@millrace/kernel';
import { JSONParser } from '@streamparser/json';
import { openBytes } from '../byte-stream.ts';
import type { Compression } from '../format.ts';
import { type InputRow, inChunks, type RowReader } from '../rows.ts';
import { objectRow, openNdjson } from './ndjson.ts';

/** A JSON array of objects, one in memory at a time; a file that begins with an object is read as lines of them. */
export async function openJson(
  path: string,
  compression: Compression,
  encoding: 'utf8' | 'latin1',
): Promise<RowReader> {
  const first = await firstByte(path, compression);
  if (first === '{') return openNdjson(path, compression, encoding);
  if (first !== '[')
    throw new MeshError(
      'MALFORMED_PAYLOAD',
      first === ''
        ? `"${path}" is empty`
        : `"${path}" begins with ${JSON.stringify(first)}; rows are a JSON array of objects, or one object a line`,
      { path },
    );
  return {
    columns: undefined,
    chunks() {
      const source = openBytes(path, compression);
      return inChunks(rowsOf(source.stream, path), source.bytesRead);
    },
  };
}

async function* rowsOf(stream: AsyncIterable<Buffer>, path: string): AsyncGenerator<InputRow> {
  const parser = new JSONParser({ paths: ['$.*'], keepStack: false, stringBufferSize: 64 * 1024 });
  let ready: InputRow[] = [];
  let number = 0;
  let failure: Error | undefined;
  parser.onValue = ({ value }) => void ready.push(objectRow(value, ++number));
  parser.onError = (cause) => {
    failure = cause;
  };
  for await (const part of stream) {
    parser.write(part);
    yield* ready;
    ready = [];
    if (failure !== undefined) throw broken(path, number, failure.message);
  }
  if (!parser.isEnded) throw broken(path, number, 'it ends before its array does');
}

function broken(path: string, number: number, detail: string): MeshError {
  return new MeshError(
    'MALFORMED_PAYLOAD',
    `"${path}" is not JSON after row ${number}: ${detail}; correct the file and load it again: what was loaded counts once`,
    { path, row: number },
  );
}

async function firstByte(path: string, compression: Compression): Promise<string> {
  for await (const part of openBytes(path, compression).stream as AsyncIterable<Buffer>) {
    const text = part
      .toString('utf8')
      .replace(/^\ufeff/, '')
      .trimStart();
    if (text !== '') return text.slice(0, 1);
  }
  return '';
}
