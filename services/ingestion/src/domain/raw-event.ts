/** An event as its publisher sent it. */
export type RawEvent = {
  /** Empty when the envelope gives none; a CloudEvent brings its own. */
  readonly id: string;
  /** The envelope's event time in UTC microseconds; 0 when it gives none. */
  readonly eventTimeUs: number;
  /** The original bytes. */
  readonly payload: Uint8Array;
  /**
   * `fields`: the payload is the JSON object of fields. `open`: that, a CloudEvent in structured mode, or of the source's own format. `avro`,
   * `protobuf`: that, said by the publisher.
   */
  readonly form: EventForm;
  /** Of bare Avro: the version of the source whose schema wrote it; empty or left out: the current one. */
  readonly writer?: string;
  /** What it does to the event with its id: `upsert`, as when it is left out, or `delete`; anything else is refused. */
  readonly operation?: string;
  /** The publisher's number of the change, which grows with each change of an id; left out: none. */
  readonly sequence?: bigint;
  readonly headers?: Readonly<Record<string, string>>;
};

export const eventForms = ['fields', 'open', 'avro', 'protobuf'] as const;
export type EventForm = (typeof eventForms)[number];

/** The headers of a message that say what it does to the event, and, of one in quarantine, the number of the change. */
export const operationHeader = 'Millrace-Operation';
export const sequenceHeader = 'millrace-sequence';

/** The largest payload of one event. */
export const eventBytesMax = 256 * 1024;
/** The longest event id, in UTF-16 code units; bounded by LMDB's key size. */
export const eventIdLengthMax = 512;
/** The most events of one request. */
export const batchEventsMax = 10_000;
