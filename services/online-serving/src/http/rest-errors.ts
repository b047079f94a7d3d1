import { toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { FastifyInstance } from 'fastify';

/** gRPC codes as HTTP statuses, as google.rpc.Code documents them. */
const httpStatuses: Readonly<Record<number, number>> = {
  1: 499,
  3: 400,
  4: 504,
  5: 404,
  6: 409,
  7: 403,
  8: 429,
  9: 409,
  10: 409,
  12: 501,
  14: 503,
};

/** Every failure is `{"error":{"reason","message","metadata"}}`, with Retry-After where a retry can help. */
export function answerErrors(app: FastifyInstance, telemetry: Telemetry): void {
  app.setErrorHandler((thrown: Error & { statusCode?: number }, _request, reply) => {
    if (thrown.name !== 'MeshError' && thrown.statusCode !== undefined && thrown.statusCode < 500) {
      const error = { reason: 'MALFORMED_PAYLOAD', message: thrown.message, metadata: {} };
      return reply.code(thrown.statusCode).send({ error });
    }
    const { reason, message, metadata, code, retryAfterMs } = toMeshError(thrown);
    const status = httpStatuses[code] ?? 500;
    if (status >= 500) telemetry.log.warn({ event: 'rest_failed', reason, message });
    if (retryAfterMs !== undefined) reply.header('retry-after', Math.ceil(retryAfterMs / 1000));
    return reply.code(status).send({ error: { reason, message, metadata } });
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      error: {
        reason: 'INVALID_ARGUMENT',
        message: `no route "${request.method} ${request.url}"; see /docs`,
        metadata: { method: request.method, url: request.url },
      },
    }),
  );
}
