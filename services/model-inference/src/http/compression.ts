import { promisify } from 'node:util';
import { deflate, gunzip, gzip, inflate } from 'node:zlib';
import { MeshError } from '@millrace/kernel';

const unpack = { gzip: promisify(gunzip), deflate: promisify(inflate) } as const;
const pack = { gzip: promisify(gzip), deflate: promisify(deflate) } as const;

/** The body as it was before its Content-Encoding. MALFORMED_PAYLOAD, also for one that unpacks to more than the limit. */
export async function unpacked(body: Buffer, encoding: string | undefined, bytesMax: number): Promise<Buffer> {
  if (encoding === undefined || encoding === 'identity') return body;
  const known = Object.hasOwn(unpack, encoding) ? unpack[encoding as keyof typeof unpack] : undefined;
  if (!known)
    throw new MeshError('UNSUPPORTED', `Content-Encoding "${encoding}" is not supported; use gzip or deflate`, {
      encoding,
    });
  try {
    return await known(body, { maxOutputLength: bytesMax });
  } catch (cause) {
    throw new MeshError(
      'MALFORMED_PAYLOAD',
      `the body is not ${encoding}, or unpacks to more than ${bytesMax} bytes, the limit`,
      { encoding, limit: bytesMax },
      { cause },
    );
  }
}

/** The body in the first encoding that the caller accepts; as it is when there is none. */
export async function packed(body: Buffer, accept: string | undefined): Promise<{ body: Buffer; encoding?: string }> {
  const wanted = (accept ?? '').split(',').map((part) => part.trim());
  const encoding = wanted.find((name): name is keyof typeof pack => Object.hasOwn(pack, name));
  return encoding ? { body: await pack[encoding](body), encoding } : { body };
}
