import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import { engineError } from './engine-error.ts';
import type { SessionState } from './sessions.ts';
import { parseStatement, type Statement } from './statement.ts';

export type Request = {
  readonly queryId: string;
  readonly state: SessionState;
  readonly statement: Statement;
  readonly format: string;
  readonly compress: boolean;
  readonly waitEnd: boolean;
  readonly progress: boolean;
  /** Bytes of an insert's data, which lie in the file given to `readRequest`. */
  readonly dataBytes: number;
};

/** Parameters of the interface itself; all others are settings. Inserts are always synchronous here. */
const ownNames = new Set(
  (
    'query database default_format query_id session_id session_timeout session_check close_session user password role ' +
    'quota_key stacktrace buffer_size wait_end_of_query compress decompress enable_http_compression ' +
    'http_zlib_compression_level send_progress_in_http_headers http_headers_progress_interval_ms ' +
    'http_wait_end_of_query http_response_buffer_size cancel_http_readonly_queries_on_client_close ' +
    'async_insert wait_for_async_insert wait_for_async_insert_timeout'
  ).split(' '),
);

const headBytesMax = 1 << 20;
const queryBytesMax = 16 << 20;

/**
 * Reads a request to its end: the statement into memory (at most 16 MiB), an insert's data into `dataFile`, so that a
 * client that goes away half-way has inserted nothing.
 */
export async function readRequest(message: IncomingMessage, queryId: string, dataFile: string): Promise<Request> {
  const url = new URL(message.url ?? '/', 'http://localhost');
  const params = new Map(url.searchParams);
  const isForm = /^multipart\/form-data/.test(message.headers['content-type'] ?? '');
  if (isForm) for (const [name, value] of await readForm(message)) params.set(name, value);
  const header = (name: string) => message.headers[name]?.toString();
  const body = isForm ? [] : decompressed(message);
  const { statement, dataBytes } = await readStatement(params.get('query') ?? '', body, dataFile);
  const isOn = (name: string) => ['1', 'true'].includes(params.get(name) ?? '');
  return {
    queryId,
    statement,
    dataBytes,
    state: {
      database: params.get('database') || header('x-clickhouse-database') || 'default',
      settings: new Map([...params].filter(([name]) => !ownNames.has(name) && !name.startsWith('param_'))),
      params: new Map(
        [...params].filter(([name]) => name.startsWith('param_')).map(([name, value]) => [name.slice(6), value]),
      ),
    },
    format: params.get('default_format') ?? header('x-clickhouse-format') ?? 'TabSeparated',
    compress: isOn('enable_http_compression') && /\bgzip\b/.test(header('accept-encoding') ?? ''),
    waitEnd: isOn('wait_end_of_query') || isOn('http_wait_end_of_query'),
    progress: isOn('send_progress_in_http_headers'),
  };
}

async function readStatement(
  urlQuery: string,
  body: AsyncIterable<Buffer> | Iterable<Buffer>,
  dataFile: string,
): Promise<{ readonly statement: Statement; readonly dataBytes: number }> {
  const inUrl = parseStatement(urlQuery);
  let insert = inUrl.t === 'insert' ? inUrl : undefined;
  let file: WriteStream | undefined;
  let dataBytes = 0;
  let head = urlQuery === '' || insert !== undefined ? Buffer.alloc(0) : Buffer.from(`${urlQuery}\n`);

  async function writeData(bytes: Buffer): Promise<void> {
    file ??= createWriteStream(dataFile);
    dataBytes += bytes.length;
    if (!file.write(bytes)) await once(file, 'drain');
  }

  /** The data of an INSERT that came with its text. */
  async function splitHead(text: string): Promise<void> {
    const parsed = parseStatement(text);
    if (parsed.t !== 'insert') return;
    insert = parsed;
    await writeData(head.subarray(Buffer.byteLength(text.slice(0, parsed.dataStart))));
  }

  try {
    if (insert !== undefined) await writeData(Buffer.from(urlQuery.slice(insert.dataStart)));
    let splitTried = false;
    for await (const chunk of body) {
      if (insert !== undefined) {
        await writeData(chunk);
        continue;
      }
      head = Buffer.concat([head, chunk]);
      if (head.length >= headBytesMax && !splitTried) {
        splitTried = true;
        await splitHead(head.toString('utf8'));
      }
      if (insert === undefined && head.length > queryBytesMax) {
        throw engineError(229, 'QUERY_IS_TOO_LARGE', `Query of more than ${queryBytesMax} bytes`);
      }
    }
    if (insert === undefined && head.length > 0) await splitHead(head.toString('utf8'));
    return { statement: insert ?? (head.length > 0 ? parseStatement(head.toString('utf8')) : inUrl), dataBytes };
  } finally {
    file?.end();
    if (file !== undefined && !file.closed) await once(file, 'close');
  }
}

async function readForm(message: IncomingMessage): Promise<Map<string, string>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of decompressed(message)) {
    bytes += chunk.length;
    if (bytes > queryBytesMax) {
      throw engineError(229, 'QUERY_IS_TOO_LARGE', `Form of more than ${queryBytesMax} bytes`);
    }
    chunks.push(chunk);
  }
  const headers = { 'content-type': message.headers['content-type'] ?? '' };
  const form = await new Response(Buffer.concat(chunks), { headers }).formData();
  return new Map([...form].filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

function decompressed(message: IncomingMessage): Readable {
  const encoding = message.headers['content-encoding'] ?? 'identity';
  const openers: Readonly<Record<string, () => ReturnType<typeof createGunzip>>> = {
    gzip: createGunzip,
    deflate: createInflate,
    br: createBrotliDecompress as unknown as typeof createGunzip,
    zstd: createZstdDecompress as unknown as typeof createGunzip,
  };
  if (encoding === 'identity') return message;
  const open = openers[encoding];
  if (open === undefined) throw engineError(48, 'NOT_IMPLEMENTED', `Unknown http content encoding '${encoding}'`);
  const plain = open();
  message.on('error', (cause) => plain.destroy(cause)).pipe(plain);
  return plain;
}
