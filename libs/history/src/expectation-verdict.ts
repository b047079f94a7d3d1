/** What every table of results of expectations says beside whose they are. `observed` is undefined where nothing was. */
export type ExpectationVerdict<Outcome extends string> = {
  readonly expectation: string;
  readonly check: string;
  readonly outcome: Outcome;
  readonly startUs: number;
  readonly endUs: number;
  readonly observed?: number | undefined;
  readonly bound: string;
  readonly rows: number;
  readonly message: string;
};

export type ResultRow = Readonly<Record<string, string | number | null>>;

export function toVerdictRow(verdict: ExpectationVerdict<string>): ResultRow {
  const { expectation, check, outcome, startUs, endUs, observed, bound, rows, message } = verdict;
  const named = { expectation, check, outcome, bound, rows, message };
  return { ...named, start_us: startUs, end_us: endUs, observed: observed ?? null };
}

/** Of a row that `toVerdictRow` made, as ClickHouse gives it back. */
export function fromVerdictRow<Outcome extends string>(row: ResultRow): ExpectationVerdict<Outcome> {
  return {
    expectation: String(row.expectation),
    check: String(row.check),
    outcome: String(row.outcome) as Outcome,
    startUs: Number(row.start_us),
    endUs: Number(row.end_us),
    observed: row.observed === null ? undefined : Number(row.observed),
    bound: String(row.bound),
    rows: Number(row.rows),
    message: String(row.message),
  };
}
