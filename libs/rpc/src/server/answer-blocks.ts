import { rpcStatus } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { encodeBlock } from '../h2/hpack-encoder.ts';
import { toRpcStatus } from '../status.ts';

const head: readonly (readonly [string, string])[] = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
];

/** The header blocks of answers, ready to be copied. */
export const headBlock: Buffer = encodeBlock([...head, ['grpc-accept-encoding', 'identity,gzip,deflate']]);
export const okTrailers: Buffer = encodeBlock([['grpc-status', '0']]);

/** A peer that speaks no gRPC is told by HTTP's status alone. */
export function httpBlock(status: number): Buffer {
  return encodeBlock([[':status', String(status)]]);
}

export function unimplemented(message: string): rpcStatus.Status {
  return { code: 12, message, details: [] };
}

type Blocks = { readonly alone: Buffer; readonly trailers: Buffer };

/** An error that refuses many calls is encoded once. */
const known = new WeakMap<MeshError, Blocks>();

/** The trailers of a failed call; `alone`: when nothing else has been sent. */
export function failureBlocks(failure: unknown): Blocks {
  const made = failure instanceof MeshError ? known.get(failure) : undefined;
  if (made) return made;
  const status = isStatus(failure) ? failure : toRpcStatus(failure);
  const trailers: [string, string][] = [
    ['grpc-status', String(status.code)],
    ['grpc-message', percentEncoded(status.message.slice(0, messageCharactersMax))],
  ];
  const details = rpcStatus.Status.encode(status).finish();
  // peers take 8 KiB of headers and more; the details are for machines, which have the status, too
  if (status.details.length > 0 && details.length <= detailsBytesMax)
    trailers.push(['grpc-status-details-bin', Buffer.from(details).toString('base64').replace(/=+$/, '')]);
  const blocks = { alone: encodeBlock([...head, ...trailers]), trailers: encodeBlock(trailers) };
  if (failure instanceof MeshError) known.set(failure, blocks);
  return blocks;
}

const messageCharactersMax = 2_000;
const detailsBytesMax = 8_192;

function isStatus(failure: unknown): failure is rpcStatus.Status {
  return !(failure instanceof Error) && typeof failure === 'object' && failure !== null && 'details' in failure;
}

/** Status messages are UTF-8, percent-encoded. */
function percentEncoded(text: string): string {
  return text.toWellFormed().replace(/[^ -$&-~]+/g, encodeURIComponent);
}
