import {
  type ClientReadableStream,
  type ClientWritableStream,
  credentials,
  type CallOptions as GrpcCallOptions,
  Client as GrpcClient,
  Metadata,
} from '@grpc/grpc-js';
import type { Telemetry } from '@millrace/runtime';
import { callerHeader } from './call-context.ts';
import type { MethodShape, RequestOf, ResponseOf, ServiceDefinition } from './definition.ts';
import { fromGrpcError } from './status.ts';

export interface CallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly metadata?: Readonly<Record<string, string>>;
  /** A W3C traceparent; left out: the active span's, when the client has telemetry. */
  readonly traceparent?: string;
}

type Method<M extends MethodShape> = M['requestStream'] extends true
  ? (requests: AsyncIterable<RequestOf<M>>, options?: CallOptions) => AsyncIterable<ResponseOf<M>>
  : M['responseStream'] extends true
    ? (request: RequestOf<M>, options?: CallOptions) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, options?: CallOptions) => Promise<ResponseOf<M>>;

/** A method for each of the service's; failures are thrown as the MeshError that the server threw. */
export type Client<S extends ServiceDefinition> = { readonly [M in keyof S]: Method<S[M]> } & { close(): void };

export interface ConnectOptions {
  readonly telemetry?: Telemetry;
  /** Default 30 s; streams have none unless the call sets it. */
  readonly defaultTimeoutMs?: number;
  /** Default 64 MiB. */
  readonly maxMessageBytes?: number;
  /** What this side calls itself (`x-millrace-caller`), for the other's limits and counts. */
  readonly caller?: string;
  /** In place of the generated codecs. */
  readonly codecs?: {
    readonly [M in keyof ServiceDefinition]?: {
      serialize?(request: never): Buffer;
      deserialize?(bytes: Buffer): unknown;
    };
  };
}

/** Connects when first used, and again whenever the connection is lost. */
export function connect<const S extends ServiceDefinition>(
  definition: S,
  address: string,
  options: ConnectOptions = {},
): Client<S> {
  const client = new GrpcClient(address, credentials.createInsecure(), {
    'grpc.max_receive_message_length': options.maxMessageBytes ?? 64 * 2 ** 20,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.min_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
    'grpc.keepalive_time_ms': 30_000,
  });
  const methods = Object.entries(definition).map(([name, method]) => [
    name,
    callOf(client, method, name, address, options),
  ]);
  return { ...Object.fromEntries(methods), close: () => client.close() } as Client<S>;
}

interface Wire {
  readonly path: string;
  readonly address: string;
  readonly encode: (request: unknown) => Buffer;
  readonly decode: (bytes: Buffer) => unknown;
  call(given: CallOptions, stream: boolean): { readonly metadata: Metadata; readonly options: GrpcCallOptions };
}

function callOf(client: GrpcClient, method: MethodShape, name: string, address: string, options: ConnectOptions) {
  const codec = options.codecs?.[name] ?? {};
  const wire: Wire = {
    path: method.path,
    address,
    encode: (codec.serialize ?? method.requestSerialize) as (request: unknown) => Buffer,
    decode: codec.deserialize ?? method.responseDeserialize,
    call(given, stream) {
      const metadata = new Metadata();
      if (options.caller !== undefined) metadata.set(callerHeader, options.caller);
      for (const [key, value] of Object.entries(given.metadata ?? {})) metadata.set(key, value);
      const traceparent = given.traceparent ?? options.telemetry?.tracer.inject();
      if (traceparent !== undefined) metadata.set('traceparent', traceparent);
      const timeoutMs = given.timeoutMs ?? (stream ? undefined : (options.defaultTimeoutMs ?? 30_000));
      return { metadata, options: timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs } };
    },
  };
  if (method.requestStream)
    return (requests: AsyncIterable<unknown>, given: CallOptions = {}) => bidi(client, wire, requests, given);
  if (method.responseStream)
    return (request: unknown, given: CallOptions = {}) => serverStream(client, wire, request, given);
  return (request: unknown, given: CallOptions = {}) => unary(client, wire, request, given);
}

function unary(client: GrpcClient, wire: Wire, request: unknown, given: CallOptions): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const { metadata, options } = wire.call(given, false);
    const call = client.makeUnaryRequest(
      wire.path,
      wire.encode,
      wire.decode,
      request,
      metadata,
      options,
      (error, response) => {
        given.signal?.removeEventListener('abort', cancel);
        if (error) reject(fromGrpcError(error, wire));
        else resolve(response);
      },
    );
    const cancel = () => call.cancel();
    if (given.signal?.aborted) cancel();
    else given.signal?.addEventListener('abort', cancel, { once: true });
  });
}

function serverStream(client: GrpcClient, wire: Wire, request: unknown, given: CallOptions): AsyncIterable<unknown> {
  const { metadata, options } = wire.call(given, true);
  return responses(
    client.makeServerStreamRequest(wire.path, wire.encode, wire.decode, request, metadata, options),
    wire,
    given,
  );
}

async function* bidi(
  client: GrpcClient,
  wire: Wire,
  requests: AsyncIterable<unknown>,
  given: CallOptions,
): AsyncGenerator<unknown> {
  const { metadata, options } = wire.call(given, true);
  const call = client.makeBidiStreamRequest(wire.path, wire.encode, wire.decode, metadata, options);
  let failure: { readonly cause: unknown } | undefined;
  // requests that fail end the call, and nothing else: nobody may be listening to this promise yet
  const sending = send(call, requests).catch((cause: unknown) => {
    failure = { cause };
    call.cancel();
  });
  try {
    yield* responses(call, wire, given);
    await sending;
  } catch (thrown) {
    throw failure ? failure.cause : thrown;
  }
  if (failure) throw failure.cause;
}

/** Writes as fast as the other side reads. */
async function send(call: ClientWritableStream<unknown>, requests: AsyncIterable<unknown>): Promise<void> {
  let ended = false;
  let wake: () => void = () => {};
  for (const event of ['drain', 'close', 'error', 'end'] as const) {
    call.on(event, () => {
      if (event !== 'drain') ended = true;
      wake();
    });
  }
  for await (const request of requests) {
    if (ended) return;
    if (!call.write(request)) await new Promise<void>((resolve) => (wake = resolve));
  }
  call.end();
}

async function* responses(
  call: ClientReadableStream<unknown>,
  wire: Wire,
  given: CallOptions,
): AsyncGenerator<unknown> {
  const cancel = () => call.cancel();
  given.signal?.addEventListener('abort', cancel, { once: true });
  try {
    for await (const response of call) yield response;
  } catch (error) {
    throw fromGrpcError(error, wire);
  } finally {
    given.signal?.removeEventListener('abort', cancel);
    call.cancel();
  }
}
