import { createHash } from 'node:crypto';
import { rowFormat } from '@millrace/features';
import { type Hot, storeUnavailable } from './connection.ts';
import { EncodedCommand, encodeWrite, type RowToWrite, writeBytesMax } from './write-command.ts';

export interface RowWriter {
  /**
   * Rows are copied before it returns: their memory may be used again at once. The newest position wins: a row that is older than the one there is left out and counted as stale. An empty one
   * removes what is there.
   */
  write(rows: readonly RowToWrite[]): Promise<{ readonly written: number; readonly stale: number }>;
  /** False when Redis was emptied since `setEpoch`. */
  epochPresent(): Promise<boolean>;
  setEpoch(id: string): Promise<void>;
}

// rows of another format lie under this one's names no more than in an emptied Redis: whoever writes them begins anew
const epochKey = `millrace:hot:epoch:${rowFormat}`;
const rowsPerCall = 50;

// Redis has no part of a hash's value to ask for: the whole old row is copied within the server, 3 % of a write of 2 KB, 13 % of 10 KB
const writeRows = `
local written = 0
for i = 1, #KEYS do
  local field, row = ARGV[2 * i - 1], ARGV[2 * i]
  local old = row ~= '' and redis.call('HGET', KEYS[i], field)
  if row == '' then
    redis.call('HDEL', KEYS[i], field)
    written = written + 1
  elseif not old or #old < 7 or struct.unpack('>I7', old) <= struct.unpack('>I7', row) then
    redis.call('HSET', KEYS[i], field, row)
    written = written + 1
  end
end
return written
`;

const writeRowsSha = createHash('sha1').update(writeRows).digest('hex');

/** Buffers for commands that are kept for the next ones, and how large they may be. */
const buffersMax = 4;
const bufferBytes = { min: 2 ** 18, max: 2 ** 22 };

/**
 * Commands are put together in memory that is used again: of buffers of their own, ten megabytes a second under load, most outlive the collections of the
 * young heap, and V8 answers with collections of the whole one.
 */
export function createRowWriter({ redis }: Hot): RowWriter {
  const buffers: Buffer[] = [];

  function take(bytes: number): Buffer {
    const buffer = buffers.pop();
    if (buffer !== undefined && buffer.length >= bytes) return buffer;
    return Buffer.allocUnsafeSlow(Math.max(bufferBytes.min, 2 ** Math.ceil(Math.log2(bytes))));
  }

  /** Only where every command is answered: one that is not may be sent again once Redis is back, as it was. */
  function giveBack(buffer: Buffer): void {
    if (buffer.length <= bufferBytes.max && buffers.length < buffersMax) buffers.push(buffer);
  }

  async function call(bytes: Buffer): Promise<number> {
    const send = () => redis.sendCommand(new EncodedCommand('evalsha', bytes)) as Promise<number>;
    try {
      return await send();
    } catch (cause) {
      // after a restart, or SCRIPT FLUSH
      if (!(cause as Error).message.startsWith('NOSCRIPT')) throw cause;
      await redis.script('LOAD', writeRows);
      return await send();
    }
  }

  return {
    async write(rows) {
      const buffer = take(writeBytesMax(rows, writeRowsSha));
      const calls: Promise<number>[] = [];
      let at = 0;
      for (let from = 0; from < rows.length; from += rowsPerCall) {
        const end = encodeWrite(buffer, at, writeRowsSha, rows, from, Math.min(rows.length, from + rowsPerCall));
        calls.push(call(buffer.subarray(at, end)));
        at = end;
      }
      const outcomes = await Promise.allSettled(calls);
      const failed = outcomes.find((outcome) => outcome.status === 'rejected');
      if (failed) throw storeUnavailable('take rows', failed.reason);
      giveBack(buffer);
      const written = outcomes.reduce((sum, outcome) => sum + (outcome.status === 'fulfilled' ? outcome.value : 0), 0);
      return { written, stale: rows.length - written };
    },
    async epochPresent() {
      try {
        return (await redis.exists(epochKey)) === 1;
      } catch (cause) {
        throw storeUnavailable('answer', cause);
      }
    },
    async setEpoch(id) {
      try {
        await redis.set(epochKey, id);
      } catch (cause) {
        throw storeUnavailable('answer', cause);
      }
    },
  };
}

export interface RowReader {
  /** For each key the rows of its fields, null where there is none; one HMGET a key, all in one pipeline. */
  read(keys: readonly string[], fieldsByKey: readonly (readonly string[])[]): Promise<(Buffer | null)[][]>;
}

export function createRowReader({ redis }: Hot): RowReader {
  return {
    async read(keys, fieldsByKey) {
      const pipeline = redis.pipeline();
      for (const [index, key] of keys.entries()) pipeline.hmgetBuffer(key, ...(fieldsByKey[index] ?? []));
      try {
        const replies = (await pipeline.exec()) ?? [];
        return replies.map(([error, values]) => {
          if (error) throw error;
          return values as (Buffer | null)[];
        });
      } catch (cause) {
        throw storeUnavailable('read rows', cause);
      }
    },
  };
}
