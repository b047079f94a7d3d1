import swagger from '@fastify/swagger';
import type { Telemetry } from '@millrace/runtime';
import Fastify, { type FastifyInstance } from 'fastify';
import type { DriftMonitor } from '../app/drift-monitor.ts';
import type { OipServer } from '../app/oip-server.ts';
import { inferRoutes } from './infer-routes.ts';
import { modelRoutes } from './model-routes.ts';
import { answerErrors } from './rest-errors.ts';

/** The Open Inference Protocol over REST beside /metrics and /health, described in /openapi.json. */
export function createRest(deps: {
  readonly server: OipServer;
  readonly telemetry: Telemetry;
  readonly ready: () => boolean;
  /** Undefined: there is no such route. */
  readonly drift: DriftMonitor | undefined;
  readonly bytesMax: number;
}): FastifyInstance {
  const { telemetry, ready } = deps;
  const app = Fastify({
    bodyLimit: deps.bytesMax,
    logger: false,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 256 },
  });
  answerErrors(app);
  // bodies are read by those who know where their JSON ends
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setValidatorCompiler(() => () => true);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Millrace model inference',
        description: 'The Open Inference Protocol, version 2. gRPC serves the same faster.',
        version: '2',
      },
    },
  });
  app.register(async (routes) => {
    const tags = ['operations'];
    routes.get('/openapi.json', { schema: { summary: 'This description', tags } }, () => app.swagger());
    routes.get('/health/live', { schema: { summary: 'Is it up', tags } }, () => ({ live: true }));
    routes.get('/health/ready', { schema: { summary: 'Have all models loaded or failed', tags } }, (_request, reply) =>
      reply.code(ready() ? 200 : 503).send({ ready: ready() }),
    );
    routes.get('/metrics', { schema: { summary: 'Prometheus metrics', tags } }, async (_request, reply) =>
      reply.type('text/plain; version=0.0.4').send(await telemetry.metrics.text()),
    );
  });
  app.register(modelRoutes(deps.server, ready, deps.drift));
  app.register(inferRoutes(deps.server, deps.bytesMax));
  return app;
}
