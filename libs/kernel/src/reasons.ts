/**
 * Why something failed: a closed catalogue. Each reason maps to one gRPC status code (numbers of google.rpc.Code) and travels
 * as `google.rpc.ErrorInfo.reason` in the domain `millrace`.
 */
export const ReasonCode = {
  // the caller's input
  INVALID_ARGUMENT: 3,
  INVALID_DEFINITION: 3,
  INVALID_CONFIG: 3,
  MALFORMED_PAYLOAD: 3,
  MISSING_FIELD: 3,
  EXTRA_FIELD: 3,
  WRONG_TYPE: 3,
  WRONG_DIMENSION: 3,
  NULL_NOT_ALLOWED: 3,
  NOT_FINITE: 3,
  NOT_IN_ENUM: 3,
  OUT_OF_RANGE: 3,
  EVENT_TIME_OUT_OF_RANGE: 3,
  FUTURE_EVENT: 3,
  TOO_LATE: 3,
  EVENT_TOO_LARGE: 3,
  MISSING_EVENT_ID: 3,
  EXPECTATION_FAILED: 3,
  EMPTY_BATCH: 3,
  TOO_MANY_EVENTS: 3,
  TOO_MANY_ROWS: 3,
  MISSING_JOIN_KEY: 3,
  NULL_JOIN_KEY: 3,
  UNKNOWN_JOIN_KEY: 3,
  MISSING_REQUEST_DATA: 3,
  MISSING_MODEL_INPUT: 3,
  WRONG_TENSOR_SHAPE: 3,
  WRONG_TENSOR_TYPE: 3,
  // the thing named does not exist, or exists already
  UNKNOWN_SOURCE: 5,
  UNKNOWN_DEFINITION: 5,
  UNKNOWN_FEATURE_VIEW: 5,
  UNKNOWN_FEATURE_SERVICE: 5,
  UNKNOWN_MODEL: 5,
  UNKNOWN_DEPLOYMENT: 5,
  UNKNOWN_LOAD: 5,
  UNKNOWN_ROLLOUT: 5,
  UNKNOWN_ALIAS: 5,
  INPUT_NOT_FOUND: 5,
  UNKNOWN_EVENT: 5,
  ID_CONFLICT: 6,
  // state
  BREAKS_CONSUMERS: 9,
  INCOMPATIBLE_SCHEMA: 9,
  LEAKAGE_FOUND: 9,
  SOURCE_BLOCKED: 9,
  NOT_READY: 9,
  ROLLOUT_RUNS: 9,
  FEATURE_STALE: 9,
  CONCURRENT_CHANGE: 10,
  // limits and time
  OVERLOADED: 8,
  LIMIT_EXCEEDED: 8,
  DEADLINE_EXCEEDED: 4,
  CANCELLED: 1,
  // the world around us
  STORE_UNAVAILABLE: 14,
  SERVICE_UNAVAILABLE: 14,
  SHUTTING_DOWN: 14,
  PROCESS_FAILED: 14,
  MODEL_NOT_READY: 14,
  MODEL_LOAD_FAILED: 14,
  GOLDEN_CHECK_FAILED: 14,
  UNSUPPORTED: 12,
  FOLDER_IN_USE: 9,
  MODEL_RUN_FAILED: 13,
  CORRUPT_DATA: 15,
  INTERNAL: 13,
} as const satisfies Record<string, number>;

export type Reason = keyof typeof ReasonCode;

/** The reasons as values: `Reason.UNKNOWN_SOURCE === 'UNKNOWN_SOURCE'`. */
export const Reason: { readonly [R in Reason]: R } = Object.fromEntries(
  Object.keys(ReasonCode).map((reason) => [reason, reason]),
) as { readonly [R in Reason]: R };

export function isReason(text: string): text is Reason {
  return Object.hasOwn(ReasonCode, text);
}
