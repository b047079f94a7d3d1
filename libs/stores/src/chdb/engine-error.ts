/** ClickHouse's error codes that do not answer 500, as its HTTP handler maps them. */
const statusByCode = new Map<number, number>([
  ...[6, 8, 15, 25, 26, 27, 36, 38, 41, 42, 43, 44, 53, 62, 72, 117, 168, 223, 427, 456, 457].map(pair(400)),
  ...[46, 47, 50, 56, 60, 73, 81, 115].map(pair(404)),
  [229, 413],
  [48, 501],
  [202, 500],
]);

function pair(status: number): (code: number) => readonly [number, number] {
  return (code) => [code, status];
}

/** An error in ClickHouse's own words: `Code: 60. DB::Exception: … (UNKNOWN_TABLE)`. */
export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly code: number;
  readonly status: number;

  constructor(code: number, text: string, cause?: unknown) {
    super(text, { cause });
    this.code = code;
    this.status = statusByCode.get(code) ?? 500;
  }
}

export function engineError(code: number, type: string, message: string): EngineError {
  return new EngineError(code, `Code: ${code}. DB::Exception: ${message}. (${type})`);
}

/** What chDB threw, without the temporary file that we read an insert's data from. */
export function toEngineError(thrown: unknown): EngineError {
  if (thrown instanceof EngineError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const code = Number(/Code: (\d+)/.exec(message)?.[1] ?? 0);
  if (code === 0) {
    return new EngineError(1002, `Code: 1002. DB::Exception: ${message}. (UNKNOWN_EXCEPTION)`, thrown);
  }
  const text = message
    .replace(/^Code: (\d+)\. DB::Exception: (?=Code: \1\. )/, '')
    .replace(/\n?: \(in file\/uri [^)]*\)/, '')
    .replace(/: data for INSERT was parsed from file/, '');
  return new EngineError(code, text.trimEnd(), thrown);
}
