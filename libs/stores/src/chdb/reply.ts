import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { pipeline, type Writable } from 'node:stream';
import { createGzip } from 'node:zlib';
import type { EngineError } from './engine-error.ts';

export type Summary = {
  readonly readRows: number;
  readonly readBytes: number;
  readonly writtenRows: number;
  readonly resultBytes: number;
  readonly elapsedNs: number;
};

/** ClickHouse's answer: headers once, then the body with the client's backpressure, an error wherever it happens. */
export type Reply = {
  readonly started: boolean;
  /** The client has gone. */
  readonly closed: AbortSignal;
  start(summary?: Summary): void;
  write(bytes: Uint8Array): Promise<void>;
  end(bytes?: Uint8Array): void;
  fail(error: EngineError): void;
};

const gzipLevel = 3;

export function createReply(
  response: ServerResponse,
  options: {
    readonly queryId: string;
    readonly version: string;
    readonly timezone: string;
  },
  about: { readonly format: string; readonly compress: boolean; readonly progress: boolean },
): Reply {
  const tag = randomBytes(8).toString('hex');
  const gone = new AbortController();
  let body: Writable = response;
  let started = false;
  response.on('error', () => undefined);
  response.once('close', () => gone.abort());

  function start(summary?: Summary): void {
    started = true;
    response.setHeader('X-ClickHouse-Summary', summaryText(summary));
    if (about.progress) response.setHeader('X-ClickHouse-Progress', summaryText(summary));
    response.setHeader('X-ClickHouse-Format', about.format);
    response.setHeader('X-ClickHouse-Exception-Tag', tag);
    response.setHeader('Content-Type', contentType(about.format));
    if (!about.compress) return;
    response.setHeader('Content-Encoding', 'gzip');
    const gzip = createGzip({ level: gzipLevel });
    pipeline(gzip, response, () => undefined);
    body = gzip;
  }

  response.setHeader('X-ClickHouse-Query-Id', options.queryId);
  response.setHeader('X-ClickHouse-Server-Display-Name', 'chdb');
  response.setHeader('X-ClickHouse-Timezone', options.timezone);
  return {
    get started() {
      return started;
    },
    closed: gone.signal,
    start,
    async write(bytes) {
      if (gone.signal.aborted || body.write(bytes)) return;
      await new Promise<void>((resolve) => {
        const done = () => {
          body.off('drain', done);
          gone.signal.removeEventListener('abort', done);
          resolve();
        };
        body.once('drain', done);
        gone.signal.addEventListener('abort', done, { once: true });
      });
    },
    end(bytes) {
      if (bytes === undefined) body.end();
      else body.end(bytes);
    },
    fail({ code, status, message }) {
      const text = `${message} (version ${options.version} (official build))\n`;
      if (!started) {
        started = true;
        response.writeHead(status, {
          'X-ClickHouse-Exception-Code': String(code),
          'Content-Type': 'text/plain; charset=UTF-8',
        });
        response.end(text);
        return;
      }
      // As ClickHouse does once rows are out: the error between markers, then an end that no client takes for a good one.
      const length = Buffer.byteLength(text);
      body.write(`\r\n__exception__\r\n${tag}\r\n${text}${length} ${tag}\r\n__exception__\r\n`, () => {
        if (body === response) response.socket?.end();
        else body.end();
      });
    },
  };
}

function summaryText(summary?: Summary): string {
  return JSON.stringify({
    read_rows: String(summary?.readRows ?? 0),
    read_bytes: String(summary?.readBytes ?? 0),
    written_rows: String(summary?.writtenRows ?? 0),
    written_bytes: '0',
    total_rows_to_read: '0',
    result_rows: '0',
    result_bytes: String(summary?.resultBytes ?? 0),
    elapsed_ns: String(summary?.elapsedNs ?? 0),
  });
}

function contentType(format: string): string {
  if (/^JSON(Strings|Columns|ColumnsWithMetadata|Compact|CompactStrings)?$/.test(format)) {
    return 'application/json; charset=UTF-8';
  }
  if (/JSON.*EachRow/.test(format)) return 'application/x-ndjson; charset=UTF-8';
  if (format.startsWith('CSV')) return 'text/csv; charset=UTF-8; header=absent';
  if (/^(TSV|TabSeparated)/.test(format)) return 'text/tab-separated-values; charset=UTF-8';
  if (/^(RowBinary|Native|Parquet|Arrow|ORC|Avro|BSON|MsgPack|Npy)/.test(format)) return 'application/octet-stream';
  return 'text/plain; charset=UTF-8';
}
