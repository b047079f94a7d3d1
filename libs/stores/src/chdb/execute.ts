import { closeSync, constants, createReadStream, openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { engineError, toEngineError } from './engine-error.ts';
import type { Reply, Summary } from './reply.ts';
import type { Request } from './request.ts';
import type { Lease, Sessions } from './sessions.ts';

/** Answers up to this many bytes are sent whole, with the final summary, or with the status of their error. */
const heldBytesMax = 1 << 20;

/** Runs a request's statement in a session of its own, and answers. Never rejects. */
export async function execute(request: Request, reply: Reply, sessions: Sessions, dataFile: string): Promise<void> {
  let lease: Lease | undefined;
  let broken = false;
  try {
    lease = await sessions.acquire();
    if (reply.closed.aborted) return;
    await lease.prepare(request.state).catch((cause) => {
      broken = true;
      throw cause;
    });
    const { statement } = request;
    switch (statement.t) {
      case 'empty':
        throw engineError(62, 'SYNTAX_ERROR', 'Syntax error: Empty query');
      case 'many':
        throw engineError(62, 'SYNTAX_ERROR', 'Syntax error (Multi-statements are not allowed)');
      case 'insert':
        answer(reply, await insert(lease, statement.from(dataFile), request.dataBytes));
        return;
      case 'select':
        await select(request, statement.into, statement.format ?? request.format, reply, lease, sessions, dataFile);
        return;
      case 'show':
      case 'command':
        broken = statement.t === 'command' && statement.changesSession;
        answer(reply, await small(lease, statement.sql, request.format));
        return;
      default:
        statement satisfies never;
    }
  } catch (cause) {
    reply.fail(toEngineError(cause));
  } finally {
    lease?.release({ broken });
  }
}

type Answer = { readonly summary: Summary; readonly bytes: Uint8Array };

function answer(reply: Reply, { summary, bytes }: Answer): void {
  reply.start(summary);
  reply.end(bytes);
}

async function insert(lease: Lease, sql: string, dataBytes: number): Promise<Answer> {
  const startedNs = process.hrtime.bigint();
  const { rowsRead } = await lease.run(sql, 'TabSeparated');
  const counts = { readRows: rowsRead, readBytes: dataBytes, writtenRows: rowsRead, resultBytes: 0 };
  return { summary: { ...counts, elapsedNs: since(startedNs) }, bytes: new Uint8Array(0) };
}

async function small(lease: Lease, sql: string, format: string): Promise<Answer> {
  const startedNs = process.hrtime.bigint();
  const result = await lease.run(sql, format);
  const bytes = result.bytes();
  const counts = {
    readRows: result.rowsRead,
    readBytes: result.bytesRead,
    writtenRows: 0,
    resultBytes: bytes.length,
  };
  return { summary: { ...counts, elapsedNs: since(startedNs) }, bytes };
}

let tagsGiven = 0;

/**
 * The engine formats and writes the result itself, into a named pipe (or, with wait_end_of_query, a file), so that a
 * result of any size and format passes through with the client's backpressure and little memory.
 */
async function select(
  { waitEnd, format }: Request,
  into: (path: string, format: string) => string,
  asked: string,
  reply: Reply,
  lease: Lease,
  sessions: Sessions,
  dataFile: string,
): Promise<void> {
  const startedNs = process.hrtime.bigint();
  const comment = `/*query-${tagsGiven++}*/`;
  const path = waitEnd ? dataFile : lease.pipe;
  const source = waitEnd ? undefined : openPipe(lease.pipe);
  let settled = false;
  let readRows = 0;
  let readBytes = 0;
  let failure: unknown;
  const finished = lease
    .run(`${into(path, asked ?? format)} ${comment}`, asked)
    .then(
      (result) => {
        readRows = result.rowsRead;
        readBytes = result.bytesRead;
      },
      (cause: unknown) => {
        failure = cause;
      },
    )
    .finally(() => {
      settled = true;
      if (source !== undefined) endPipe(lease.pipe);
    });
  const onClosed = () => {
    source?.destroy();
    if (!settled) void sessions.kill(comment);
  };
  reply.closed.addEventListener('abort', onClosed, { once: true });
  if (reply.closed.aborted) onClosed();
  try {
    if (waitEnd) await finished;
    if (failure !== undefined) throw failure;
    const held: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of (source ?? createReadStream(dataFile)) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (reply.started) {
        await reply.write(chunk);
        continue;
      }
      held.push(chunk);
      if (bytes < heldBytesMax) continue;
      reply.start();
      await reply.write(Buffer.concat(held.splice(0)));
    }
    await finished;
    if (failure !== undefined) throw failure;
    if (!reply.started) {
      reply.start({ readRows, readBytes, writtenRows: 0, resultBytes: bytes, elapsedNs: since(startedNs) });
    }
    reply.end(held.length > 0 ? Buffer.concat(held) : undefined);
  } catch (cause) {
    if (!reply.closed.aborted) throw cause;
  } finally {
    reply.closed.removeEventListener('abort', onClosed);
    source?.destroy();
    await finished;
    if (waitEnd) await rm(dataFile, { force: true });
  }
}

/** Without a writer yet, so it must not block; a socket, since a file stream would hold a thread while it waits. */
function openPipe(path: string): Socket {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return new Socket({ fd, readable: true, writable: false });
}

/** A writer that comes and goes: the reader sees the end even when the engine never opened the pipe. */
function endPipe(path: string): void {
  try {
    closeSync(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK));
  } catch {
    // ENXIO: nobody reads any more, so nobody waits for the end.
  }
}

function since(startedNs: bigint): number {
  return Number(process.hrtime.bigint() - startedNs);
}
