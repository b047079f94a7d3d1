import { toMeshError } from '@millrace/kernel';
import type { FastifyInstance } from 'fastify';

/** gRPC codes as Triton's HTTP statuses: INTERNAL 500, NOT_FOUND 404, UNAVAILABLE 503, UNSUPPORTED 501, others 400; and what it lacks. */
const httpStatuses: Readonly<Record<number, number>> = {
  1: 499,
  4: 504,
  5: 404,
  8: 503,
  12: 501,
  13: 500,
  14: 503,
  15: 500,
};

/** Every failure is `{"error": "…"}`, with Retry-After where a retry can help. */
export function answerErrors(app: FastifyInstance): void {
  app.setErrorHandler((thrown: Error & { statusCode?: number }, _request, reply) => {
    if (thrown.name !== 'MeshError' && thrown.statusCode !== undefined && thrown.statusCode < 500)
      return reply.code(thrown.statusCode).send({ error: thrown.message });
    const { message, code, retryAfterMs } = toMeshError(thrown);
    if (retryAfterMs !== undefined) reply.header('retry-after', Math.ceil(retryAfterMs / 1000));
    return reply.code(httpStatuses[code] ?? 400).send({ error: message });
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({ error: `no route "${request.method} ${request.url}"; see /openapi.json` }),
  );
}
