import { ask, download, type Request } from './download.ts';
import type { InputObject } from './input-object.ts';

/** What one URL answers; its ETag, or its time of change and length, tell contents apart. */
export async function httpInput(url: string, bytesMax: number, signal: AbortSignal): Promise<InputObject> {
  const request: Request = (method, abort) => fetch(url, { method, signal: abort });
  // some servers know no HEAD: then nothing is known before the bytes are
  const head = await ask(request, 'HEAD', url, signal).catch(() => undefined);
  const bytes = Number(head?.headers.get('content-length') ?? 0);
  const changed = head?.headers.get('last-modified');
  const etag = head?.headers.get('etag') ?? '';
  return {
    uri: url,
    name: new URL(url).pathname,
    bytes,
    fingerprint: etag || (changed ? `${changed}-${bytes}` : ''),
    fetch: (spool, abort) => download(request, { uri: url, spool, bytesMax }, abort),
  };
}
