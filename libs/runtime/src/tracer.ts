import {
  type Attributes,
  context,
  type Span as OtelSpan,
  propagation,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

export interface Span {
  set(attributes: Readonly<Record<string, string | number | boolean>>): void;
}

export interface SpanOptions {
  readonly kind?: 'server' | 'client' | 'producer' | 'consumer' | 'internal';
  /** A W3C traceparent; left out: the active span. */
  readonly parent?: string | undefined;
  /** Traceparents of spans that this one also follows from. */
  readonly links?: readonly string[];
  readonly attributes?: Readonly<Record<string, string | number | boolean>>;
}

/** Traces, or nothing at all: both have the same shape, so that no caller branches. */
export interface Tracer {
  /** False when spans go nowhere. */
  readonly enabled: boolean;
  /** Runs within a span, which is active meanwhile; an error is recorded on it and thrown on. */
  span<T>(name: string, options: SpanOptions, fn: (span: Span) => Promise<T> | T): Promise<T>;
  /** The traceparent of the active span. */
  inject(): string | undefined;
  /** Sends what is left. */
  close(): Promise<void>;
}

const noSpan: Span = { set() {} };

export const noTracer: Tracer = {
  enabled: false,
  span: async (_name, _options, fn) => fn(noSpan),
  inject: () => undefined,
  close: async () => {},
};

const kinds = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
} as const;

/** Spans to an OTLP/HTTP endpoint, as `http://127.0.0.1:4318`. */
export function createTracer(service: string, endpoint: string): Tracer {
  const exporter = new OTLPTraceExporter({ url: new URL('/v1/traces', endpoint).href });
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ 'service.name': service }),
    spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: 500 })],
  });
  provider.register();
  const tracer = trace.getTracer('millrace');
  return {
    enabled: true,
    span(name, options, fn) {
      const parent = options.parent === undefined ? context.active() : contextOf(options.parent);
      const links = (options.links ?? []).flatMap((link) => {
        const linked = trace.getSpanContext(contextOf(link));
        return linked ? [{ context: linked }] : [];
      });
      const attributes: Attributes = { ...options.attributes };
      return tracer.startActiveSpan(
        name,
        { kind: kinds[options.kind ?? 'internal'], attributes, links },
        parent,
        (span) => settle(span, fn),
      );
    },
    inject() {
      const carrier: Record<string, string> = {};
      propagation.inject(context.active(), carrier);
      return carrier.traceparent;
    },
    close: () => provider.shutdown(),
  };
}

function contextOf(traceparent: string) {
  return propagation.extract(context.active(), { traceparent });
}

async function settle<T>(span: OtelSpan, fn: (span: Span) => Promise<T> | T): Promise<T> {
  try {
    return await fn({ set: (attributes) => span.setAttributes({ ...attributes }) });
  } catch (error) {
    span.recordException(error instanceof Error ? error : String(error));
    span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
    throw error;
  } finally {
    span.end();
  }
}
