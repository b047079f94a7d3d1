import { rowFormat } from '@millrace/features';
import type { Redis } from 'ioredis';
import { type Hot, storeUnavailable } from './connection.ts';

export interface RowToWrite {
  readonly key: string;
  readonly field: string;
  /**
   * Starts with its format and position: 7 bytes, big-endian (row-layout.ts of libs/features). Empty: the entity has no row any more.
   */
  readonly row: Buffer;
}

export interface RowWriter {
  /** The newest position wins: a row that is older than the one there is left out and counted as stale. An empty one removes what is there. */
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

type WithWriteRows = Redis & { millraceWriteRows(keys: number, ...rest: (string | Buffer)[]): Promise<number> };

export function createRowWriter({ redis }: Hot): RowWriter {
  redis.defineCommand('millraceWriteRows', { lua: writeRows });
  const commands = redis as WithWriteRows;
  return {
    async write(rows) {
      const calls: Promise<number>[] = [];
      for (let from = 0; from < rows.length; from += rowsPerCall) {
        const part = rows.slice(from, from + rowsPerCall);
        calls.push(
          commands.millraceWriteRows(
            part.length,
            ...part.map(({ key }) => key),
            ...part.flatMap(({ field, row }) => [field, row]),
          ),
        );
      }
      const outcomes = await Promise.allSettled(calls);
      const failed = outcomes.find((outcome) => outcome.status === 'rejected');
      if (failed) throw storeUnavailable('take rows', failed.reason);
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
