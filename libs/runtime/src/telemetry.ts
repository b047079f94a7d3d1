import type { CommonConfig } from './config.ts';
import { createLogger, type Logger, silentLogger } from './logger.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { createTracer, noTracer, type Tracer } from './tracer.ts';

export interface Telemetry {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
}

export function createTelemetry(service: string, config: Pick<CommonConfig, 'logLevel' | 'otlpEndpoint'>): Telemetry {
  return {
    log: createLogger(service, config.logLevel),
    metrics: createMetrics(service),
    tracer: config.otlpEndpoint === undefined ? noTracer : createTracer(service, config.otlpEndpoint),
  };
}

/** No logs, no traces; metrics that nobody reads: for tests and tools. */
export function quietTelemetry(): Telemetry {
  return { log: silentLogger, metrics: createMetrics('quiet'), tracer: noTracer };
}
