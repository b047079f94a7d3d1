import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { MeshError } from '@millrace/kernel';

/** Where everything listens: `.millrace/endpoints.json`, written by the launcher. Addresses are `host:port`. */
export interface Endpoints {
  readonly services: Readonly<Record<string, { readonly grpc: string; readonly http: string }>>;
  readonly stores: { readonly nats: string; readonly redis: string; readonly clickhouse: string };
}

/** The endpoints file of this folder or of the nearest one above it. */
export function findEndpoints(from: string = process.cwd()): string | undefined {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const file = join(folder, '.millrace', 'endpoints.json');
    if (existsSync(file)) return file;
    if (folder === dirname(folder)) return undefined;
  }
}

/** NOT_READY when there is no file, INVALID_CONFIG when it is not one of endpoints; with what to do. */
export function readEndpoints(file: string | undefined = findEndpoints()): Endpoints {
  if (file === undefined || !existsSync(file)) {
    const looked =
      file === undefined ? 'no ".millrace/endpoints.json" here or above' : `there is no endpoints file "${file}"`;
    throw new MeshError(
      'NOT_READY',
      `no running mesh found: ${looked}; run "npm start" first or name the file with --endpoints`,
      { file: file ?? '' },
    );
  }
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Endpoints;
  } catch (cause) {
    throw new MeshError(
      'INVALID_CONFIG',
      `the endpoints file "${file}" is not JSON: ${(cause as Error).message}; run "npm start" to write it anew`,
      { file },
      { cause },
    );
  }
}
