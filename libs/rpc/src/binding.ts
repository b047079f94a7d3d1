import type {
  ServiceDefinition as GrpcServiceDefinition,
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServerDuplexStream,
  ServerWritableStream,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { MeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { type CallContext, LazyCallContext } from './call-context.ts';
import {
  type Codecs,
  type MethodShape,
  type RequestOf,
  type ResponseOf,
  type ServiceDefinition,
  serviceNameOf,
} from './definition.ts';
import { toGrpcStatus } from './status.ts';

type Handler<M extends MethodShape> = M['requestStream'] extends true
  ? (requests: AsyncIterable<RequestOf<M>>, context: CallContext) => AsyncIterable<ResponseOf<M>>
  : M['responseStream'] extends true
    ? (request: RequestOf<M>, context: CallContext) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, context: CallContext) => Promise<ResponseOf<M>> | ResponseOf<M>;

/** A handler for each method, and for nothing else: a misspelt one does not compile. */
export type Handlers<S extends ServiceDefinition> = { readonly [M in keyof S]: Handler<S[M]> };

/** A service and its handlers, ready to be added to a server. */
export interface ServiceBinding {
  readonly name: string;
  readonly definition: GrpcServiceDefinition;
  implementation(telemetry: Telemetry): UntypedServiceImplementation;
}

/** Requests are decoded and responses encoded here, so that bytes that cannot be decoded are the caller's error and not ours. */
const identity = (bytes: Buffer): Buffer => bytes;

export function bindService<S extends ServiceDefinition>(
  definition: S,
  handlers: Handlers<S>,
  codecs: Codecs<S> = {},
): ServiceBinding {
  const methods = Object.entries(definition);
  return {
    name: serviceNameOf(definition),
    definition: Object.fromEntries(
      methods.map(([name, { path, requestStream, responseStream }]) => [
        name,
        {
          path,
          requestStream,
          responseStream,
          requestSerialize: identity,
          requestDeserialize: identity,
          responseSerialize: identity,
          responseDeserialize: identity,
        },
      ]),
    ),
    implementation: (telemetry) =>
      Object.fromEntries(
        methods.map(([name, method]) => [
          name,
          implement(method, handlers[name] as unknown as AnyHandler, codecs[name] ?? {}, telemetry),
        ]),
      ),
  };
}

type AnyHandler = (request: unknown, context: CallContext) => unknown;
interface AnyCodec {
  readonly serialize?: (response: never) => Buffer;
  readonly deserialize?: (bytes: Buffer) => unknown;
}

function implement(method: MethodShape, handler: AnyHandler, codec: AnyCodec, telemetry: Telemetry) {
  const encode = (codec.serialize ?? method.responseSerialize) as (response: unknown) => Buffer;
  const decode = decoder(method, codec);
  if (method.requestStream) return bidi(method, handler, decode, encode, telemetry);
  if (method.responseStream) return serverStream(method, handler, decode, encode, telemetry);
  return unary(method, handler, decode, encode, telemetry);
}

function decoder(method: MethodShape, codec: AnyCodec): (bytes: Buffer) => unknown {
  const decode = codec.deserialize ?? method.requestDeserialize;
  return (bytes) => {
    try {
      return decode(bytes);
    } catch (cause) {
      if (cause instanceof MeshError) throw cause;
      throw new MeshError(
        'MALFORMED_PAYLOAD',
        `the request of ${method.path} is not the message that the contract says`,
        { method: method.path },
        { cause },
      );
    }
  };
}

type Decode = (bytes: Buffer) => unknown;
type Encode = (response: unknown) => Buffer;

function unary(
  method: MethodShape,
  handler: AnyHandler,
  decode: Decode,
  encode: Encode,
  telemetry: Telemetry,
): handleUnaryCall<Buffer, Buffer> {
  const { tracer } = telemetry;
  return (call, callback) => {
    const context = new LazyCallContext(call);
    const invoke = async () => handler(decode(call.request), context);
    const parent = tracer.enabled ? context.traceparent : undefined;
    const answered = parent === undefined ? invoke() : tracer.span(method.path, { kind: 'server', parent }, invoke);
    answered.then(encode).then(
      (bytes) => callback(null, bytes),
      (error: unknown) => {
        report(error, method, telemetry);
        callback(toGrpcStatus(error));
      },
    );
  };
}

function serverStream(
  method: MethodShape,
  handler: AnyHandler,
  decode: Decode,
  encode: Encode,
  telemetry: Telemetry,
): handleServerStreamingCall<Buffer, Buffer> {
  return (call) => {
    const context = new LazyCallContext(call);
    void answerStream(
      call,
      context,
      method,
      telemetry,
      encode,
      () => handler(decode(call.request), context) as AsyncIterable<unknown>,
    );
  };
}

function bidi(
  method: MethodShape,
  handler: AnyHandler,
  decode: Decode,
  encode: Encode,
  telemetry: Telemetry,
): handleBidiStreamingCall<Buffer, Buffer> {
  return (call) => {
    const context = new LazyCallContext(call);
    void answerStream(
      call,
      context,
      method,
      telemetry,
      encode,
      () => handler(decoded(call, decode), context) as AsyncIterable<unknown>,
    );
  };
}

/** Reads on only when the handler asks: gRPC's flow control holds the caller back. */
async function* decoded(call: ServerDuplexStream<Buffer, Buffer>, decode: Decode): AsyncGenerator<unknown> {
  for await (const bytes of call) yield decode(bytes as Buffer);
}

async function answerStream(
  call: ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>,
  context: LazyCallContext,
  method: MethodShape,
  telemetry: Telemetry,
  encode: Encode,
  open: () => AsyncIterable<unknown>,
): Promise<void> {
  const { tracer } = telemetry;
  const pump = async () => {
    for await (const response of open()) {
      if (call.cancelled) return;
      if (!call.write(encode(response))) await drained(call, context.signal);
    }
  };
  try {
    const parent = tracer.enabled ? context.traceparent : undefined;
    await (parent === undefined ? pump() : tracer.span(method.path, { kind: 'server', parent }, pump));
    call.end();
  } catch (error) {
    if (call.cancelled) return;
    report(error, method, telemetry);
    call.emit('error', toGrpcStatus(error));
  }
}

function drained(
  call: ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.once('drain', done);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** The caller's mistakes are answered, not logged; ours are both. */
function report(error: unknown, method: MethodShape, telemetry: Telemetry): void {
  const internal = !(error instanceof MeshError) || error.reason === 'INTERNAL' || error.reason === 'CORRUPT_DATA';
  if (internal)
    telemetry.log.error({
      event: 'rpc_failed',
      method: method.path,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
}
