import type { DescMessage } from '@bufbuild/protobuf';
import type { Cursor } from '../cursor.ts';

/**
 * Passes over Confluent's wire format where a payload begins with it: a zero byte (no protobuf message does), four bytes of a schema id, and
 * which message of the file it is: a count and indices in zigzag, or a single 0 for the first one. The id needs no look: numbers of fields say
 * what a payload is.
 */
export function passConfluent(cursor: Cursor, message: DescMessage): void {
  if (cursor.bytes[0] !== 0) return;
  cursor.take(5);
  const count = Number(cursor.zigzag());
  if (count < 0 || count > 32) throw cursor.malformed(`begins with a zero byte and ${count} message indices`);
  const indices = count === 0 ? [0] : Array.from({ length: count }, () => Number(cursor.zigzag()));
  const wanted = indicesOf(message);
  if (indices.join() !== wanted.join())
    throw cursor.malformed(
      `is message [${indices.join()}] of its file where "${message.typeName}" is [${wanted.join()}]`,
    );
}

function indicesOf(message: DescMessage): number[] {
  const { parent } = message;
  if (parent === undefined) return [message.file.messages.indexOf(message)];
  return [...indicesOf(parent), parent.nestedMessages.indexOf(message)];
}
