export { type CommonConfig, commonConfig, type Env, parseEnv } from './config.ts';
export { type HttpRoute, type HttpServer, serveHttp } from './http.ts';
export { Lifecycle } from './lifecycle.ts';
export { createLogger, type LogEntry, type Logger, type LogLevel, silentLogger } from './logger.ts';
export { createMetrics, type Labels, type Metrics, type MetricsJson } from './metrics.ts';
export type { ReadyInfo } from './ready-info.ts';
export { type RunContext, run } from './run.ts';
export { createTelemetry, quietTelemetry, type Telemetry } from './telemetry.ts';
export { createTracer, noTracer, type Span, type SpanOptions, type Tracer } from './tracer.ts';
