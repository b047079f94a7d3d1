export { consumeDurable, type DurableOptions } from './consume-durable.ts';
export {
  type Changes,
  type Column,
  type DecodedBatch,
  decodeEventBatch,
  encodeEventBatch,
  operations,
} from './event-batch.ts';
export { followBucket, type TakeEntry } from './follow-bucket.ts';
export { type NatsLink, openNats } from './link.ts';
export type { StreamMessage } from './message.ts';
export { createPublisher, type Publisher, type PublishOptions } from './publisher.ts';
export { type BackwardsOptions, readBackwards } from './read-backwards.ts';
export { type ReadOptions, readStream } from './read-stream.ts';
export { ensureStreams, type StreamName, type StreamState, streamInfo } from './streams.ts';
export { subjects } from './subjects.ts';
