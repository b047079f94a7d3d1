import { matchesGlob } from 'node:path';
import { MeshError } from '@millrace/kernel';
import { AwsClient } from 'aws4fetch';
import { XMLParser } from 'fast-xml-parser';
import { isDataFile } from '../format.ts';
import { ask, download, type Request } from './download.ts';
import { type InputObject, inputsMax } from './input-object.ts';

/** How a bucket is reached. Without a key requests are not signed, as public buckets allow. */
export interface S3Access {
  /** As `http://127.0.0.1:9000`; empty: Amazon's of the region. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
}

/** `s3://bucket/key`, every data file below `s3://bucket/prefix/`, or what a glob matches, in the order of their keys. */
export async function s3Inputs(
  location: string,
  access: S3Access,
  bytesMax: number,
  signal: AbortSignal,
): Promise<InputObject[]> {
  const { bucket, key } = partsOf(location);
  const prefix = /^[^*?[\]{}]*/.exec(key)?.[0] ?? '';
  const isGlob = prefix !== key;
  const send = sender(access);
  const base = baseUrl(access, bucket);
  const wanted = (name: string) =>
    isGlob
      ? matchesGlob(name, key)
      : name === key || ((key === '' || name.startsWith(key.replace(/\/?$/, '/'))) && isDataFile(baseName(name)));
  const found: InputObject[] = [];
  for await (const object of list(base, prefix, send, signal)) {
    if (!wanted(object.key)) continue;
    if (found.length === inputsMax)
      throw new MeshError('LIMIT_EXCEEDED', `"${location}" is more than ${inputsMax} objects; load them in parts`, {
        location,
        limit: inputsMax,
      });
    found.push(toInput(object));
  }
  if (found.length === 0)
    throw new MeshError('INPUT_NOT_FOUND', `"${location}" has no object of data; check bucket and key`, { location });
  return found;

  function toInput(object: Listed): InputObject {
    const uri = `s3://${bucket}/${object.key}`;
    const request: Request = (method, abort) => send(`${base}/${encodeKey(object.key)}`, method, abort);
    return {
      uri,
      name: baseName(object.key),
      bytes: object.bytes,
      fingerprint: `${object.etag}-${object.bytes}`,
      fetch: (spool, abort) => download(request, { uri, spool, bytesMax }, abort),
    };
  }
}

interface Listed {
  readonly key: string;
  readonly bytes: number;
  readonly etag: string;
}

type Send = (url: string, method: 'GET' | 'HEAD', signal: AbortSignal) => Promise<Response>;

function sender({ accessKeyId, secretAccessKey, sessionToken, region }: S3Access): Send {
  if (accessKeyId === '') return (url, method, signal) => fetch(url, { method, signal });
  const token = sessionToken === '' ? {} : { sessionToken };
  const client = new AwsClient({ accessKeyId, secretAccessKey, ...token, region, service: 's3', retries: 0 });
  return (url, method, signal) => client.fetch(url, { method, signal });
}

/** ListObjectsV2, page by page. */
async function* list(base: string, prefix: string, send: Send, signal: AbortSignal): AsyncGenerator<Listed> {
  // keys come encoded, so that no entity of XML has to be resolved
  const parser = new XMLParser({
    processEntities: false,
    parseTagValue: false,
    isArray: (name) => name === 'Contents',
  });
  for (let token = ''; ; ) {
    const query = new URLSearchParams({ 'list-type': '2', 'encoding-type': 'url', prefix });
    if (token !== '') query.set('continuation-token', token);
    const url = `${base}/?${query}`;
    const response = await ask((method, abort) => send(url, method, abort), 'GET', url, signal);
    const { ListBucketResult: page } = parser.parse(await response.text()) as { ListBucketResult?: ListPage };
    if (page === undefined)
      throw new MeshError('STORE_UNAVAILABLE', `"${base}" does not answer as S3 does; check the endpoint`, {
        url: base,
      });
    for (const { Key, Size, ETag = '' } of page.Contents ?? [])
      yield {
        key: decodeURIComponent(Key.replaceAll('+', ' ')),
        bytes: Number(Size),
        etag: ETag.replace(/&quot;|"/g, ''),
      };
    if (page.IsTruncated !== 'true' || !page.NextContinuationToken) return;
    token = page.NextContinuationToken;
  }
}

interface ListPage {
  readonly Contents?: readonly { readonly Key: string; readonly Size: string; readonly ETag?: string }[];
  readonly IsTruncated?: string;
  readonly NextContinuationToken?: string;
}

function partsOf(location: string): { readonly bucket: string; readonly key: string } {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,62})(?:\/(.*))?$/.exec(location);
  if (match === null)
    throw new MeshError('INVALID_ARGUMENT', `"${location}" is not an address of S3; write s3://bucket/key`, {
      location,
    });
  return { bucket: match[1] ?? '', key: match[2] ?? '' };
}

function baseUrl({ endpoint, region }: S3Access, bucket: string): string {
  return endpoint === '' ? `https://${bucket}.s3.${region}.amazonaws.com` : `${endpoint.replace(/\/$/, '')}/${bucket}`;
}

function encodeKey(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/');
}

function baseName(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1);
}
