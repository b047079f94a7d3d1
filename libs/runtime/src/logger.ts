import { pino } from 'pino';

/** Logs events, not sentences: `log.info({ event: 'batch_flushed', rows, durationMs })`. */
export interface Logger {
  debug(entry: LogEntry): void;
  info(entry: LogEntry): void;
  warn(entry: LogEntry): void;
  error(entry: LogEntry): void;
}

export type LogEntry = { readonly event: string } & Readonly<Record<string, unknown>>;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** One JSON line an entry on standard output: level, time (RFC 3339), service, event, … */
export function createLogger(service: string, level: LogLevel): Logger {
  return pino({
    level,
    base: { service },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  });
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
