import { callerHeader, callerMax } from '@millrace/rpc';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ReadCall } from '../app/read-features.ts';

/** What HTTP says about a read: the header `x-timeout-ms`, who calls, and whether anybody still waits. */
export function readCallOf(request: FastifyRequest, reply: FastifyReply): ReadCall {
  const aborted = new AbortController();
  reply.raw.once('close', () => aborted.abort());
  const timeoutMs = Number(request.headers['x-timeout-ms']);
  const deadlineMs = Number.isFinite(timeoutMs) && timeoutMs > 0 ? Date.now() + timeoutMs : undefined;
  return { deadlineMs, signal: aborted.signal, caller: callerOf(request) };
}

function callerOf(request: FastifyRequest): string {
  const given = request.headers[callerHeader];
  return typeof given === 'string' && given !== '' ? given.slice(0, callerMax) : request.ip;
}
