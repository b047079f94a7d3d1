import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { MeshError } from '@millrace/kernel';
import type { Logger } from '@millrace/runtime';

export type RedisSocket = {
  up(): boolean;
  write(text: string): void;
  /** Drops the connection and opens another. */
  reopen(why: string): void;
  close(): void;
};

const connectTimeoutMs = 5_000;
const backoffMs = { min: 50, max: 1_000 };
const receiveBytes = 256 * 1024;

/** A connection to Redis that opens again for ever. The first one must succeed: throws STORE_UNAVAILABLE. */
export async function openRedisSocket(options: {
  readonly url: string;
  readonly log: Logger;
  /** A new reader for each connection. The bytes it is given are overwritten after it returns. */
  readonly reader: () => (chunk: Buffer) => void;
  readonly onDown: () => void;
}): Promise<RedisSocket> {
  const url = new URL(options.url);
  const { log } = options;
  let state: { t: 'down' } | { t: 'up'; socket: Socket } | { t: 'closed' } = { t: 'down' };
  let waitMs = backoffMs.min;
  let timer: NodeJS.Timeout | undefined;

  function down(socket: Socket, why: string): void {
    socket.destroy();
    if (state.t !== 'up' || state.socket !== socket) return;
    state = { t: 'down' };
    log.warn({ event: 'redis_down', why });
    options.onDown();
    retry();
  }

  function retry(): void {
    timer = setTimeout(() => {
      dial(url).then(adopt, () => {
        waitMs = Math.min(waitMs * 2, backoffMs.max);
        if (state.t === 'down') retry();
      });
    }, waitMs);
  }

  function adopt({ socket, received }: Dialled): void {
    if (state.t === 'closed') {
      socket.destroy();
      return;
    }
    waitMs = backoffMs.min;
    const read = options.reader();
    let greetings = greetingsOf(url);
    received((chunk) => {
      let bytes = chunk;
      // AUTH and SELECT answer one line each before any row
      while (greetings.expected > 0 && bytes.length > 0) {
        const end = bytes.indexOf('\r\n');
        if (end < 0) return down(socket, 'greeting cut off');
        if (bytes[0] === 45) return down(socket, bytes.toString('latin1', 0, end));
        greetings = { ...greetings, expected: greetings.expected - 1 };
        bytes = bytes.subarray(end + 2);
      }
      if (bytes.length > 0) read(bytes);
    });
    socket.on('error', (error) => down(socket, error.message));
    socket.on('close', () => down(socket, 'closed'));
    state = { t: 'up', socket };
    if (greetings.text !== '') socket.write(greetings.text);
    log.info({ event: 'redis_up', host: url.host });
  }

  try {
    adopt(await dial(url));
  } catch (cause) {
    throw new MeshError(
      'STORE_UNAVAILABLE',
      `could not connect to Redis at "${url.host}"; is it running?`,
      { store: 'redis', address: url.host },
      { cause },
    );
  }
  return {
    up: () => state.t === 'up',
    write(text) {
      // one byte for each character costs no encoding; commands of ASCII keys are such texts
      if (state.t === 'up') state.socket.write(text, isAscii(text) ? 'latin1' : 'utf8');
    },
    reopen(why) {
      if (state.t === 'up') down(state.socket, why);
    },
    close() {
      const last = state;
      state = { t: 'closed' };
      clearTimeout(timer);
      if (last.t === 'up') last.socket.destroy();
    },
  };
}

function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}

type Dialled = { readonly socket: Socket; received(take: (bytes: Buffer) => void): void };

/** Into one buffer, again and again: fresh memory for each chunk is a third of the cost of reading rows. TLS has no such way. */
function dial(url: URL): Promise<Dialled> {
  return new Promise((resolve, reject) => {
    const where = { host: url.hostname, port: Number(url.port || 6379) };
    const secure = url.protocol === 'rediss:';
    let take: (bytes: Buffer) => void = () => {};
    const onread = {
      buffer: Buffer.allocUnsafeSlow(receiveBytes),
      callback(count: number, bytes: Uint8Array) {
        take(Buffer.from(bytes.buffer, bytes.byteOffset, count));
        return true;
      },
    };
    const socket = secure ? connectTls({ ...where, servername: url.hostname }) : connectTcp({ ...where, onread });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    const timer = setTimeout(() => socket.destroy(new Error('connecting took too long')), connectTimeoutMs);
    socket.once('error', reject);
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer);
      socket.removeListener('error', reject);
      resolve({
        socket,
        received(taker) {
          take = taker;
          if (secure) socket.on('data', taker);
        },
      });
    });
  });
}

function greetingsOf(url: URL): { readonly text: string; readonly expected: number } {
  const commands: string[][] = [];
  if (url.password !== '') {
    const user = url.username === '' ? [] : [decodeURIComponent(url.username)];
    commands.push(['AUTH', ...user, decodeURIComponent(url.password)]);
  }
  const database = url.pathname.slice(1);
  if (database !== '' && database !== '0') commands.push(['SELECT', database]);
  const text = commands
    .map((parts) => `*${parts.length}\r\n${parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join('')}`)
    .join('');
  return { text, expected: commands.length };
}
