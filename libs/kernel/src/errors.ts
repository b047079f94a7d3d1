import { type Reason, ReasonCode } from './reasons.ts';

/** The values that an error names, as strings, for machines to read. */
export type ErrorMetadata = Readonly<Record<string, string | number | boolean>>;

/**
 * The one error class. The message is lowercase, has no full stop, quotes the value with its kind and says what to do;
 * every variable of the message is in `metadata` too.
 */
export class MeshError extends Error {
  override readonly name = 'MeshError';
  readonly reason: Reason;
  readonly metadata: Readonly<Record<string, string>>;
  /** When set, how long the caller should wait before the next try, in ms. */
  readonly retryAfterMs: number | undefined;

  constructor(
    reason: Reason,
    message: string,
    metadata: ErrorMetadata = {},
    options: { readonly cause?: unknown; readonly retryAfterMs?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = reason;
    this.metadata = Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, String(value)]));
    this.retryAfterMs = options.retryAfterMs;
  }

  /** The gRPC status code (google.rpc.Code) of the reason. */
  get code(): number {
    return ReasonCode[this.reason];
  }
}

/** Anything thrown, as a MeshError: itself, or INTERNAL with the original as its cause. */
export function toMeshError(thrown: unknown, context = 'unexpected failure'): MeshError {
  if (thrown instanceof MeshError) return thrown;
  const detail = thrown instanceof Error ? thrown.message : String(thrown);
  return new MeshError('INTERNAL', `${context}: ${detail}`, {}, { cause: thrown });
}
