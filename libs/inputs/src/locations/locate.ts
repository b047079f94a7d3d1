import { MeshError } from '@millrace/kernel';
import { httpInput } from './http.ts';
import type { InputObject } from './input-object.ts';
import { localInputs } from './local.ts';
import type { S3Access } from './s3.ts';

export interface LocateOptions {
  readonly s3: S3Access;
  /** The largest download. */
  readonly bytesMax: number;
  readonly signal: AbortSignal;
}

/** Everything that a location names now. INPUT_NOT_FOUND when it names nothing, INVALID_ARGUMENT when it is no location. */
export async function locate(location: string, { s3, bytesMax, signal }: LocateOptions): Promise<InputObject[]> {
  switch (schemeOf(location)) {
    case 'http':
    case 'https':
      return [await httpInput(location, bytesMax, signal)];
    case 's3':
      return (await import('./s3.ts')).s3Inputs(location, s3, bytesMax, signal);
    case 'file':
    case '':
      return localInputs(location.replace(/^file:\/\//, ''));
    default:
      throw new MeshError(
        'INVALID_ARGUMENT',
        `"${location}" is not a location; name a file, a folder, a glob, an http(s) URL or s3://bucket/prefix`,
        { location },
      );
  }
}

/** Whether it is a path of a file system and not an address of a network. */
export function isLocal(location: string): boolean {
  return schemeOf(location) === '' || schemeOf(location) === 'file';
}

function schemeOf(location: string): string {
  return /^([a-z][a-z0-9+.-]+):\/\//i.exec(location)?.[1]?.toLowerCase() ?? '';
}
