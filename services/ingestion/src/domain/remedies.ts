/** What to do about an event that was rejected for a reason. */
const remedies: Readonly<Record<string, string>> = {
  MALFORMED_PAYLOAD: 'the payload cannot be read; replace its fields: millrace quarantine fix --patch with all of them',
  MISSING_FIELD: 'add the field with fix --set, or make it nullable or give it a default in the source, then replay',
  NULL_NOT_ALLOWED: 'give the field a value with fix --set, or make it nullable in the source, then replay',
  EXTRA_FIELD: 'remove the field with fix --unset, add it to the source, or set extra_fields: ignore, then replay',
  WRONG_TYPE: 'give the field a value of its type with fix --set, or change its type in the source, then replay',
  WRONG_DIMENSION: 'give the vector as many numbers as its field has with fix --set, then replay',
  NOT_FINITE: 'give the field a finite value with fix --set, then replay',
  NOT_IN_ENUM: 'correct the value with fix --set, or add it to the allowed values of the source, then replay',
  OUT_OF_RANGE: 'correct the value with fix --set, or widen the range in the source, then replay',
  EVENT_TIME_OUT_OF_RANGE: 'correct the event time with fix --set, in UTC microseconds',
  FUTURE_EVENT: 'replay it when its time has come, or correct the event time with fix --set',
  TOO_LATE: 'raise max_lateness in the source, then replay',
  EVENT_TOO_LARGE: 'only its first 256 KiB are kept: publish a smaller event',
  MISSING_EVENT_ID: 'give it an id: millrace quarantine fix --new-id',
  ID_CONFLICT: 'another event has its id: give a corrected event a new one with fix --new-id, or leave it',
  EXPECTATION_FAILED: 'correct the event with fix --set, or change the expectation in the source, then replay',
  SOURCE_BLOCKED:
    'resume the source (millrace quality resume), then replay what came meanwhile: millrace quarantine replay --reason SOURCE_BLOCKED',
  UNKNOWN_SOURCE: 'apply the definition of the source, then replay',
};

type Rejected = {
  readonly reason: string;
  readonly source: string;
  readonly batchId?: string | undefined;
  readonly batchEvents?: number | undefined;
};

export function remedyOf({ reason, source, batchId, batchEvents }: Rejected): string {
  if (batchId !== undefined)
    return (
      `its batch of ${batchEvents} events was set aside together; correct them (millrace quarantine fix ${source} --batch ${batchId} --set …), or change the ` +
      `expectation in the source, then replay: millrace quarantine replay ${source} --batch ${batchId}; what is named by --id goes in without the others`
    );
  return remedies[reason] ?? 'correct the event with fix, or the source, then replay';
}
