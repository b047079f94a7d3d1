import { MeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { CallContext } from './call-context.ts';
import {
  type Codecs,
  type MethodShape,
  type RequestOf,
  type ResponseOf,
  type ServiceDefinition,
  serviceNameOf,
} from './definition.ts';
import type { ServerMethod, UnaryMethod } from './server/server-method.ts';

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
  methods(telemetry: Telemetry): readonly ServerMethod[];
}

/**
 * Asked before a request of the method is decoded: an error refuses the call, for a fiftieth of what it costs to answer it. For unary
 * methods.
 */
export type Gates<S extends ServiceDefinition> = {
  readonly [M in keyof S]?: (context: CallContext, message: Buffer) => MeshError | undefined;
};

export function bindService<S extends ServiceDefinition>(
  definition: S,
  handlers: Handlers<S>,
  codecs: Codecs<S> = {},
  gates: Gates<S> = {},
): ServiceBinding {
  return {
    name: serviceNameOf(definition),
    methods: (telemetry) =>
      Object.entries(definition).map(([name, method]) => {
        const bound: BoundMethod = {
          path: method.path,
          handler: handlers[name] as unknown as AnyHandler,
          decode: decoder(method, codecs[name] ?? {}),
          encode: ((codecs[name] as AnyCodec | undefined)?.serialize ?? method.responseSerialize) as Encode,
          telemetry,
        };
        if (method.requestStream || method.responseStream) return stream(bound, method.requestStream);
        return unary(bound, gates[name]);
      }),
  };
}

type AnyHandler = (request: unknown, context: CallContext) => unknown;
type Decode = (bytes: Buffer) => unknown;
type Encode = (response: unknown) => Buffer;
interface AnyCodec {
  readonly serialize?: (response: never) => Buffer;
  readonly deserialize?: (bytes: Buffer) => unknown;
}

type BoundMethod = {
  readonly path: string;
  readonly handler: AnyHandler;
  readonly decode: Decode;
  readonly encode: Encode;
  readonly telemetry: Telemetry;
};

/** Bytes that cannot be decoded are the caller's error and not ours. */
function decoder(method: MethodShape, codec: AnyCodec): Decode {
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

function unary(bound: BoundMethod, refuse: UnaryMethod['refuse']): ServerMethod {
  const { path, handler, decode, encode, telemetry } = bound;
  const { tracer } = telemetry;
  return {
    t: 'unary',
    path,
    refuse,
    async answer(message, context) {
      try {
        const invoke = async () => encode(await handler(decode(message), context));
        const parent = tracer.enabled ? context.traceparent : undefined;
        return await (parent === undefined ? invoke() : tracer.span(path, { kind: 'server', parent }, invoke));
      } catch (error) {
        report(error, bound);
        throw error;
      }
    },
  };
}

function stream(bound: BoundMethod, requestStream: boolean): ServerMethod {
  const { path, handler, decode, encode, telemetry } = bound;
  const { tracer } = telemetry;
  return {
    t: 'stream',
    path,
    requestStream,
    async answer(messages, context, answers) {
      const pump = async () => {
        const requests = decoded(messages, decode);
        const request = requestStream ? requests : (await requests.next()).value;
        for await (const response of handler(request, context) as AsyncIterable<unknown>) {
          if (answers.ended) return;
          await answers.write(encode(response));
        }
      };
      try {
        const parent = tracer.enabled ? context.traceparent : undefined;
        await (parent === undefined ? pump() : tracer.span(path, { kind: 'server', parent }, pump));
      } catch (error) {
        if (!answers.ended) report(error, bound);
        throw error;
      }
    },
  };
}

async function* decoded(messages: AsyncIterable<Buffer>, decode: Decode): AsyncGenerator<unknown> {
  for await (const message of messages) yield decode(message);
}

/** The caller's mistakes are answered, not logged; ours are both. */
function report(error: unknown, { path, telemetry }: BoundMethod): void {
  const internal = !(error instanceof MeshError) || error.reason === 'INTERNAL' || error.reason === 'CORRUPT_DATA';
  if (internal)
    telemetry.log.error({
      event: 'rpc_failed',
      method: path,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
}
