import { serving } from '@millrace/contracts';
import { type MeshError, toMeshError } from '@millrace/kernel';
import { callerHeader, callerMax } from '@millrace/rpc';
import type { Telemetry } from '@millrace/runtime';
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import type { PlanBook } from '../app/plan-book.ts';
import type { ReadFeatures } from '../app/read-features.ts';
import { eventTimeAt, type Matrix, statusAt, valueAt } from '../domain/matrix.ts';
import { parseRestRead } from './rest-request.ts';

/** Features for people: REST and JSON beside /metrics and /health. */
export function createRest(deps: {
  readonly plans: PlanBook;
  readonly readFeatures: ReadFeatures;
  readonly telemetry: Telemetry;
  readonly ready: () => boolean;
}): FastifyInstance {
  const { plans, readFeatures, telemetry, ready } = deps;
  const app = Fastify({ bodyLimit: 8 * 1024 * 1024, logger: false, forceCloseConnections: true });

  app.setErrorHandler((thrown: Error & { statusCode?: number }, _request, reply) => {
    if (thrown.name !== 'MeshError' && thrown.statusCode !== undefined && thrown.statusCode < 500) {
      const error = { reason: 'MALFORMED_PAYLOAD', message: thrown.message, metadata: {} };
      return reply.code(thrown.statusCode).send({ error });
    }
    const error = toMeshError(thrown);
    if (httpStatus(error) >= 500)
      telemetry.log.warn({ event: 'rest_failed', reason: error.reason, message: error.message });
    if (error.retryAfterMs !== undefined) reply.header('retry-after', Math.ceil(error.retryAfterMs / 1000));
    return reply
      .code(httpStatus(error))
      .send({ error: { reason: error.reason, message: error.message, metadata: error.metadata } });
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      error: {
        reason: 'INVALID_ARGUMENT',
        message: `no route "${request.method} ${request.url}"; see GET /v1/feature-services`,
        metadata: { method: request.method, url: request.url },
      },
    }),
  );

  app.get('/health/live', () => ({ status: 'live' }));
  app.get('/health/ready', (_request, reply) =>
    ready() ? { status: 'ready' } : reply.code(503).send({ status: 'not_ready' }),
  );
  app.get('/metrics', async (_request, reply) =>
    reply.type('text/plain; version=0.0.4').send(await telemetry.metrics.text()),
  );
  app.get('/v1/feature-services', () => ({ feature_services: plans.list().map(describePlan) }));
  app.get<{ Params: { name: string } }>('/v1/feature-services/:name', async (request) => {
    const { name } = request.params;
    return describePlan(plans.current(name, '') ?? (await plans.load(name, '')));
  });
  app.post<{ Params: { name: string } }>('/v1/feature-services/:name/features', async (request, reply) => {
    const { plan, read } = await parseRestRead(plans, request.params.name, request.body);
    const aborted = new AbortController();
    reply.raw.once('close', () => aborted.abort());
    const timeoutMs = Number(request.headers['x-timeout-ms']);
    const deadlineMs = Number.isFinite(timeoutMs) && timeoutMs > 0 ? Date.now() + timeoutMs : undefined;
    const matrix = await readFeatures(read, { deadlineMs, signal: aborted.signal, caller: callerOf(request) });
    return reply
      .type('application/json')
      .send(
        JSON.stringify({ feature_service: plan.name, version: plan.version, rows: rowsOf(matrix) }, (_key, value) =>
          typeof value === 'bigint' ? value.toString() : value,
        ),
      );
  });
  return app;
}

function callerOf(request: FastifyRequest): string {
  const given = request.headers[callerHeader];
  return typeof given === 'string' && given !== '' ? given.slice(0, callerMax) : request.ip;
}

const statusNames = Object.fromEntries(
  Object.entries(serving.ValueStatus).map(([name, number]) => [number, name]),
) as Readonly<Record<number, string>>;

function rowsOf(matrix: Matrix) {
  return Array.from(matrix.asOfUs, (asOfUs, row) => ({
    as_of: isoMicros(asOfUs),
    features: Object.fromEntries(
      matrix.plan.features.map((feature) => {
        const eventTimeUs = eventTimeAt(matrix, row, feature.view);
        return [
          feature.name,
          {
            value: valueAt(matrix, row, feature.position),
            status: statusNames[statusAt(matrix, row, feature.position)],
            age_ms: eventTimeUs === 0 ? null : Math.max(0, asOfUs - eventTimeUs) / 1000,
          },
        ];
      }),
    ),
  }));
}

function describePlan(plan: ReturnType<PlanBook['list']>[number]) {
  return {
    name: plan.name,
    version: plan.version,
    join_keys: plan.keys,
    features: plan.features.map(({ name, type, view }) => ({
      name,
      type,
      view: plan.views[view]?.name,
      view_version: plan.views[view]?.version,
    })),
  };
}

function isoMicros(timeUs: number): string {
  return `${new Date(Math.floor(timeUs / 1000)).toISOString().slice(0, -1)}${String(timeUs % 1000).padStart(3, '0')}Z`;
}

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
  14: 503,
};

function httpStatus(error: MeshError): number {
  return httpStatuses[error.code] ?? 500;
}
