import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { Telemetry } from '@millrace/runtime';
import Fastify, { type FastifyInstance } from 'fastify';
import type { PlanBook } from '../app/plan-book.ts';
import type { ReadFeatures } from '../app/read-features.ts';
import type { Usage } from '../app/usage.ts';
import { readRoutes } from './read-routes.ts';
import { answerErrors } from './rest-errors.ts';
import { failure, health, jsonSchema } from './rest-schemas.ts';
import { usageRoutes } from './usage-routes.ts';

/**
 * Features for people: REST and JSON beside /metrics and /health, described in /openapi.json and readable at /docs. Routes that are
 * registered later, as plugins, stand there too.
 */
export function createRest(deps: {
  readonly plans: PlanBook;
  readonly readFeatures: ReadFeatures;
  readonly usage: Pick<Usage, 'report'>;
  readonly telemetry: Telemetry;
  readonly ready: () => boolean;
}): FastifyInstance {
  const { telemetry } = deps;
  const app = Fastify({ bodyLimit: 8 * 1024 * 1024, logger: false, forceCloseConnections: true });
  answerErrors(app, telemetry);
  // schemas say what is true; the handlers parse, and say better what is wrong
  app.setValidatorCompiler(() => () => true);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.addSchema({ $id: 'Failure', ...jsonSchema(failure) });
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Millrace online serving',
        description: 'Features, as of now or of any time, each with its status and age. gRPC serves the same faster.',
        version: '1',
      },
    },
    refResolver: { buildLocalReference: (json, _base, _fragment, i) => String(json.$id ?? `schema-${i}`) },
  });
  app.register(swaggerUi, { routePrefix: '/docs' });
  app.register(operations(deps));
  app.register(readRoutes(deps));
  app.register(usageRoutes(deps.usage));
  return app;
}

function operations({ telemetry, ready }: { readonly telemetry: Telemetry; readonly ready: () => boolean }) {
  return async function routes(app: FastifyInstance): Promise<void> {
    app.get('/openapi.json', { schema: { summary: 'This description', tags: ['operations'] } }, () => app.swagger());
    app.get('/health/live', {
      schema: { summary: 'Is it up', tags: ['operations'], response: { 200: jsonSchema(health) } },
      handler: () => ({ status: 'live' }),
    });
    app.get('/health/ready', {
      schema: {
        summary: 'Does it take reads',
        tags: ['operations'],
        response: { 200: jsonSchema(health), 503: jsonSchema(health) },
      },
      handler: (_request, reply) => (ready() ? { status: 'ready' } : reply.code(503).send({ status: 'not_ready' })),
    });
    app.get('/metrics', {
      schema: {
        summary: 'Prometheus metrics',
        tags: ['operations'],
        produces: ['text/plain'],
        response: { 200: { type: 'string', description: 'The exposition format.' } },
      },
      async handler(_request, reply) {
        return reply.type('text/plain; version=0.0.4').send(await telemetry.metrics.text());
      },
    });
  };
}
