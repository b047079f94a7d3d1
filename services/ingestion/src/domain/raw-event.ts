/** An event as its publisher sent it. */
export type RawEvent = {
  /** Empty when the envelope gives none; a CloudEvent brings its own. */
  readonly id: string;
  /** The envelope's event time in UTC microseconds; 0 when it gives none. */
  readonly eventTimeUs: number;
  /** The original bytes. */
  readonly payload: Uint8Array;
  /** `fields`: the payload is the JSON object of fields. `open`: that, or a CloudEvent in structured mode. */
  readonly form: 'fields' | 'open';
  readonly headers?: Readonly<Record<string, string>>;
};

/** The largest payload of one event. */
export const eventBytesMax = 256 * 1024;
/** The longest event id, in UTF-16 code units; bounded by LMDB's key size. */
export const eventIdLengthMax = 512;
/** The most events of one request. */
export const batchEventsMax = 10_000;
