import { connect as openSocket } from 'node:net';
import { MeshError } from '@millrace/kernel';
import { callerHeader } from '../call-context.ts';
import type { CallOptions, ConnectOptions } from '../client.ts';
import type { MethodShape, RequestOf, ResponseOf, ServiceDefinition } from '../definition.ts';
import { encodeBlock } from '../h2/hpack-encoder.ts';
import { framed } from '../server/server-call.ts';
import { ClientConnection } from './client-connection.ts';
import { PendingCall } from './pending-call.ts';

type UnaryNames<S extends ServiceDefinition> = {
  [M in keyof S]: S[M]['requestStream'] extends false ? (S[M]['responseStream'] extends false ? M : never) : never;
}[keyof S];

/** A method for each of the service's that streams nothing. */
export type UnaryClient<S extends ServiceDefinition> = {
  readonly [M in UnaryNames<S>]: (request: RequestOf<S[M]>, options?: CallOptions) => Promise<ResponseOf<S[M]>>;
} & { close(): void };

/** How long a server that could not be reached is left alone. */
const pauseMs = 100;
const timeoutMaxMs = 0x7fff_ffff;
const connectPatienceMs = 5_000;

/**
 * As `connect`, for calls that stream nothing and happen for every request: a call takes about a tenth of the processor time that grpc-js takes for one. Connects when
 * first used and after the connection was lost; calls that were on their way then fail with SERVICE_UNAVAILABLE, those that the server had not begun with go to the next connection.
 */
export function connectUnary<const S extends ServiceDefinition>(
  definition: S,
  address: string,
  options: ConnectOptions = {},
): UnaryClient<S> {
  const line = createLine(address);
  const methods = Object.entries(definition)
    .filter(([, { requestStream, responseStream }]) => !requestStream && !responseStream)
    .map(([name, method]) => [name, callOf(line, method, name, address, options)]);
  return { ...Object.fromEntries(methods), close: () => line.close() } as UnaryClient<S>;
}

type Line = ReturnType<typeof createLine>;

/** The connection of the moment. */
function createLine(address: string) {
  let current: ClientConnection | undefined;
  let connecting: PendingCall[] | undefined;
  let failed: { readonly cause: Error; readonly atMs: number } | undefined;
  let isClosed = false;

  function refuse(calls: readonly PendingCall[], cause: Error): void {
    for (const call of calls) call.onReset(cause.message);
  }

  function open(): void {
    const colon = address.lastIndexOf(':');
    const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
    const socket = openSocket({ host, port: Number(address.slice(colon + 1)), noDelay: true, keepAlive: true });
    socket.setTimeout(connectPatienceMs, () => socket.destroy(new Error(`no connection in ${connectPatienceMs} ms`)));
    const onFailed = (cause: Error) => {
      const calls = connecting ?? [];
      connecting = undefined;
      failed = { cause, atMs: performance.now() };
      refuse(calls, cause);
    };
    socket.once('error', onFailed);
    socket.once('connect', () => {
      socket.setTimeout(0);
      socket.off('error', onFailed);
      // what it is closed for, its calls are told
      socket.on('error', () => {});
      const connection = new ClientConnection(socket, () => {
        if (current === connection) current = undefined;
      });
      failed = undefined;
      current = connection;
      const calls = connecting ?? [];
      connecting = undefined;
      for (const call of calls) if (!call.settled) startOn(connection, call);
      if (isClosed) connection.leave();
    });
  }

  function startOn(connection: ClientConnection, call: PendingCall): void {
    call.carrier = connection;
    connection.start(call);
  }

  return {
    start(call: PendingCall): void {
      if (current?.open) startOn(current, call);
      else if (isClosed) call.onReset('the client is closed');
      else if (connecting) connecting.push(call);
      else if (failed && performance.now() - failed.atMs < pauseMs) refuse([call], failed.cause);
      else {
        connecting = [call];
        open();
      }
    },
    close(): void {
      isClosed = true;
      current?.leave();
    },
  };
}

function callOf(line: Line, method: MethodShape, name: string, address: string, options: ConnectOptions) {
  const { path } = method;
  const codec = options.codecs?.[name] ?? {};
  const encode = (codec.serialize ?? method.requestSerialize) as (request: unknown) => Buffer;
  const decode = codec.deserialize ?? method.responseDeserialize;
  const headOf = createHeads(path, address, options.caller);
  const target = { path, address };
  return (request: unknown, given: CallOptions = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const { signal } = given;
      if (signal?.aborted) {
        reject(cancelled(path));
        return;
      }
      const timeoutMs = Math.min(Math.max(1, given.timeoutMs ?? options.defaultTimeoutMs ?? 30_000), timeoutMaxMs);
      const traceparent = given.traceparent ?? options.telemetry?.tracer.inject();
      const call = new PendingCall({
        head: headOf(timeoutMs, traceparent, given.metadata),
        request: framed(encode(request)),
        target,
        maxBytes: options.maxMessageBytes ?? 64 * 2 ** 20,
        retry: (again) => line.start(again),
        settle(error, message) {
          clearTimeout(timer);
          signal?.removeEventListener('abort', cancel);
          if (error) return reject(error);
          try {
            resolve(decode(message));
          } catch (cause) {
            reject(new MeshError('INTERNAL', `${path} at "${address}": the answer cannot be read`, target, { cause }));
          }
        },
      });
      const giveUp = (error: MeshError) => {
        call.carrier?.cancel(call);
        call.fail(error);
      };
      const timer = setTimeout(() => giveUp(expired(path, address, timeoutMs)), timeoutMs);
      const cancel = () => giveUp(cancelled(path));
      signal?.addEventListener('abort', cancel, { once: true });
      line.start(call);
    });
}

/** Header blocks of a method's calls: nearly all calls have the same. */
function createHeads(path: string, authority: string, caller: string | undefined) {
  const base = encodeBlock([
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', authority],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...(caller === undefined ? [] : [[callerHeader, caller] as const]),
  ]);
  let last = { timeoutMs: Number.NaN, block: base };
  return (timeoutMs: number, traceparent: string | undefined, metadata: CallOptions['metadata']): Buffer => {
    if (last.timeoutMs !== timeoutMs) {
      // up to eight digits of milliseconds, else seconds
      const timeout = timeoutMs < 1e8 ? `${Math.ceil(timeoutMs)}m` : `${Math.ceil(timeoutMs / 1000)}S`;
      last = { timeoutMs, block: Buffer.concat([base, encodeBlock([['grpc-timeout', timeout]])]) };
    }
    if (traceparent === undefined && metadata === undefined) return last.block;
    const more = Object.entries(metadata ?? {}).map(([name, value]): [string, string] => [name.toLowerCase(), value]);
    if (traceparent !== undefined) more.push(['traceparent', traceparent]);
    return Buffer.concat([last.block, encodeBlock(more)]);
  };
}

function cancelled(path: string): MeshError {
  return new MeshError('CANCELLED', `the call of ${path} was cancelled`, { path });
}

function expired(path: string, address: string, timeoutMs: number): MeshError {
  return new MeshError('DEADLINE_EXCEEDED', `${path} at "${address}" did not answer within ${timeoutMs} ms`, {
    path,
    address,
  });
}
