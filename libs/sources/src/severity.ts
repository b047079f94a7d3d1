import { expectations } from '@millrace/contracts';

export type Severity = 'warn' | 'quarantine' | 'block';

export function severityOf(severity: expectations.Severity, fallback: Severity): Severity {
  switch (severity) {
    case expectations.Severity.WARN:
      return 'warn';
    case expectations.Severity.QUARANTINE:
      return 'quarantine';
    case expectations.Severity.BLOCK:
      return 'block';
    default:
      return fallback;
  }
}

const intervalDefaultUs = 60_000_000;

/** How long the intervals of an expectation are. */
export function intervalOf({ intervalUs }: expectations.Expectation): number {
  return Number(intervalUs) || intervalDefaultUs;
}

export type Check = NonNullable<expectations.Expectation['check']>;

/** Checks that look at each event in its path; the others look at an interval's rows. */
const rowChecks = {
  notNull: 'not_null',
  inRange: 'in_range',
  inSet: 'in_set',
  matches: 'matches',
  unique: 'unique',
  condition: 'condition',
} as const satisfies Partial<Record<Check['$case'], string>>;

const intervalChecks = {
  completeness: 'completeness',
  distinctness: 'distinctness',
  volume: 'volume',
  freshness: 'freshness',
  distribution: 'distribution',
  quantile: 'quantile',
} as const satisfies Partial<Record<Check['$case'], string>>;

export const checkNames: Readonly<Record<Check['$case'], string>> = { ...rowChecks, ...intervalChecks };

export function isRowCheck(check: Check): boolean {
  return check.$case in rowChecks;
}

/** What a check looks at: each event in its path, the events that are handed in together, or those that were accepted in an interval. */
export type Scope = 'row' | 'batch' | 'interval';

export function scopeOf({ check, perBatch }: Pick<expectations.Expectation, 'check' | 'perBatch'>): Scope {
  if (check !== undefined && isRowCheck(check)) return 'row';
  return perBatch === undefined ? 'interval' : 'batch';
}

/** Whether the source takes nothing in once the expectation fails over an interval. Old data is no reason to keep the new out. */
export function closesSource(expectation: expectations.Expectation): boolean {
  const { check, severity } = expectation;
  if (check === undefined || check.$case === 'freshness') return false;
  return scopeOf(expectation) === 'interval' && severityOf(severity, 'warn') === 'block';
}
