import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { Session } from 'chdb';
import { engineError } from './engine-error.ts';
import { quoted } from './statement.ts';

/** What a request wants its session to be set to. */
export type SessionState = {
  readonly database: string;
  readonly settings: ReadonlyMap<string, string>;
  /** Values as they came over HTTP: text in TabSeparated escaping. */
  readonly params: ReadonlyMap<string, string>;
};

export type EngineResult = { bytes(): Uint8Array; readonly rowsRead: number; readonly bytesRead: number };

export type Lease = {
  /** Puts the session into the state wanted: at most two statements of about 0.4 ms, none when nothing changed. */
  prepare(state: SessionState): Promise<void>;
  run(sql: string, format: string): Promise<EngineResult>;
  /** A named pipe of this session's own, for results. */
  readonly pipe: string;
  /** `broken`: the session was left in an unknown state, so another takes its place. */
  release(options?: { readonly broken?: boolean }): void;
};

export type Sessions = {
  acquire(): Promise<Lease>;
  /** Stops the running queries whose text ends with this comment. */
  kill(comment: string): Promise<void>;
  close(): void;
};

type Slot = {
  session: Session;
  readonly pipe: string;
  database: string;
  settings: ReadonlyMap<string, string>;
  params: ReadonlySet<string>;
};

/** One insert of up to 1,048,576 rows is one block, thus one part, thus all or nothing. */
const atomicInserts = new Map([
  ['max_insert_block_size', '1048576'],
  ['min_insert_block_size_rows', '1048576'],
  ['min_insert_block_size_bytes', '0'],
]);

/**
 * At most `countMax` chDB sessions, made when first needed. Each keeps its own settings, parameters and current
 * database, so what one request sets is never seen by another. `waitingMax` requests may wait for one; more are refused.
 */
export function createSessions({
  dir,
  tmpDir,
  countMax,
  waitingMax = 1_000,
}: {
  readonly dir: string;
  readonly tmpDir: string;
  readonly countMax: number;
  readonly waitingMax?: number;
}): Sessions {
  const control = new Session(dir);
  const idle: Slot[] = [];
  const waiting: ((slot: Slot) => void)[] = [];
  let made = 0;

  function make(): Slot {
    const pipe = join(tmpDir, `result-${made++}`);
    execFileSync('mkfifo', [pipe]);
    return { session: new Session(dir), pipe, database: 'default', settings: new Map(), params: new Set() };
  }

  async function takeSlot(): Promise<Slot> {
    const slot = idle.pop();
    if (slot !== undefined) return slot;
    if (made < countMax) return make();
    if (waiting.length >= waitingMax) {
      throw engineError(202, 'TOO_MANY_SIMULTANEOUS_QUERIES', `Too many simultaneous queries. Maximum: ${countMax}`);
    }
    return await new Promise<Slot>((resolve) => waiting.push(resolve));
  }

  function giveBack(slot: Slot): void {
    const next = waiting.shift();
    if (next !== undefined) next(slot);
    else idle.push(slot);
  }

  function renew(slot: Slot): void {
    slot.session.close();
    slot.session = new Session(dir);
    slot.database = 'default';
    slot.settings = new Map();
    slot.params = new Set();
  }

  return {
    async acquire() {
      const slot = await takeSlot();
      return {
        pipe: slot.pipe,
        prepare: (state) => prepare(slot, state, renew),
        run: (sql, format) => run(slot.session, sql, format),
        release({ broken = false } = {}) {
          // `readonly` cannot be unset by the session that has it.
          if (broken || slot.settings.has('readonly')) renew(slot);
          giveBack(slot);
        },
      };
    },
    async kill(comment) {
      const text = `KILL QUERY WHERE query LIKE ${quoted(`%${comment}`)} AND query NOT LIKE 'KILL%' ASYNC`;
      await control.queryAsync(text, { format: 'Null' }).catch(() => undefined);
    },
    close() {
      for (const { session } of idle) session.close();
      control.close();
    },
  };
}

/** A failed query stays in the engine's list, with its locks, until its session runs another: so it runs one. */
async function run(session: Session, sql: string, format: string): Promise<EngineResult> {
  try {
    return await session.queryAsync(sql, { format });
  } catch (cause) {
    await session.queryAsync('SELECT 1', { format: 'Null' }).catch(() => undefined);
    throw cause;
  }
}

async function prepare(slot: Slot, state: SessionState, renew: (slot: Slot) => void): Promise<void> {
  // A parameter cannot be unset, and one left over would hide that a request forgot to send it.
  if ([...slot.params].some((name) => !state.params.has(name))) renew(slot);
  const wanted = new Map([...atomicInserts, ...state.settings]);
  const changes = [
    ...[...slot.settings.keys()].filter((name) => !wanted.has(name)).map((name) => `${name} = DEFAULT`),
    ...[...state.params].map(([name, value]) => `param_${name} = ${quoted(value)}`),
    ...[...wanted]
      .filter(([name, value]) => slot.settings.get(name) !== value)
      .sort(([a]) => (a === 'readonly' ? 1 : 0))
      .map(([name, value]) => `${name} = ${quoted(value)}`),
  ];
  if (state.database !== slot.database) {
    await slot.session.queryAsync(
      `USE ${state.database.replace(/^.*$/s, (name) => `\`${name.replaceAll('`', '\\`')}\``)}`,
    );
    slot.database = state.database;
  }
  if (changes.length > 0) await slot.session.queryAsync(`SET ${changes.join(', ')}`);
  slot.settings = wanted;
  slot.params = new Set(state.params.keys());
}
