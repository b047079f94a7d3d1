import type { rpcStatus } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { callerHeader } from '../call-context.ts';
import type { DecodedBlock } from '../h2/hpack-decoder.ts';
import { unimplemented } from './answer-blocks.ts';

/** The headers of a call. One object serves all calls with the same headers. */
export type CallHead = {
  readonly path: string;
  readonly timeoutMs: number | undefined;
  readonly encoding: string;
  readonly caller: string | undefined;
  /** No call of gRPC: answered with this HTTP status alone. */
  readonly httpProblem: number | undefined;
  readonly problem: MeshError | rpcStatus.Status | undefined;
  readonly fields: readonly string[];
};

export function readCallHead({ fields, tooLarge }: DecodedBlock): CallHead {
  let path = '';
  let method = '';
  let contentType = '';
  let timeout: string | undefined;
  let encoding = 'identity';
  let caller: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    const value = fields[i + 1] as string;
    switch (fields[i]) {
      case ':path':
        path = value;
        break;
      case ':method':
        method = value;
        break;
      case 'content-type':
        contentType = value;
        break;
      case 'grpc-timeout':
        timeout = value;
        break;
      case 'grpc-encoding':
        encoding = value;
        break;
      case callerHeader:
        caller ??= value;
        break;
    }
  }
  const timeoutMs = timeout === undefined ? undefined : parseTimeout(timeout);
  return {
    path,
    timeoutMs,
    encoding,
    caller,
    httpProblem: tooLarge ? undefined : httpProblem(method, contentType),
    problem: problemOf(tooLarge, timeout, timeoutMs, encoding),
    fields,
  };
}

/** What a peer that speaks no gRPC is told: it would not look into trailers. */
function httpProblem(method: string, contentType: string): number | undefined {
  if (method !== 'POST') return 405;
  return grpcType.test(contentType) ? undefined : 415;
}

const grpcType = /^application\/grpc(?:\+proto)?(?:;|$)/i;
const units: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** NaN: none. */
function parseTimeout(text: string): number {
  const unit = units[text.at(-1) ?? ''];
  return unit !== undefined && /^\d{1,8}.$/.test(text) ? Number(text.slice(0, -1)) * unit : Number.NaN;
}

function problemOf(
  tooLarge: boolean,
  timeout: string | undefined,
  timeoutMs: number | undefined,
  encoding: string,
): CallHead['problem'] {
  if (tooLarge)
    return new MeshError('LIMIT_EXCEEDED', 'the metadata of the call is more than 16 KiB', { limit: 16_384 });
  if (timeout !== undefined && Number.isNaN(timeoutMs)) {
    return new MeshError(
      'INVALID_ARGUMENT',
      `grpc-timeout "${timeout}" is no time: up to eight digits and H, M, S, m, u or n`,
      {
        timeout,
      },
    );
  }
  if (!encodings.includes(encoding))
    return unimplemented(`grpc-encoding "${encoding}" cannot be read; send ${encodings.join(', ')}`);
  return undefined;
}

export const encodings: readonly string[] = ['identity', 'gzip', 'deflate'];
