import { MeshError, toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { readCallOf } from '../http/read-call.ts';
import { encodeJson } from './encode-json.ts';
import { feastErrorBody, feastHttpStatus } from './errors.ts';
import type { ReadFeast } from './feast-read.ts';
import { parseFrame } from './frame.ts';
import { materialize } from './materialize.ts';
import { BodyError, isObject, optionalText, parseBody, parseRead, requiredText } from './parse-body.ts';
import type { Push, SourceCatalog } from './push.ts';

/**
 * The endpoints of Feast's Python feature server, for `app.register`. Bodies are read as text whatever their content type says, and
 * errors have Feast's shape; both hold for these routes alone.
 */
export function feastRoutes(deps: {
  readonly readFeast: ReadFeast;
  readonly push: Push;
  readonly catalog: SourceCatalog;
  readonly telemetry: Telemetry;
  readonly ready: () => boolean;
}): (app: FastifyInstance) => Promise<void> {
  const { readFeast, push, catalog, telemetry, ready } = deps;
  return async (app) => {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
    app.setErrorHandler((thrown: Error & { statusCode?: number }, _request, reply) =>
      answerError(thrown, reply, telemetry),
    );

    app.post('/get-online-features', async (request, reply) => {
      const read = parseRead(textOf(request));
      const answer = await readFeast(read, readCallOf(request, reply));
      return reply.type('application/json').send(encodeJson(answer));
    });

    app.post('/push', async (request, reply) => {
      const body = parseBody(textOf(request));
      const source = requiredText(body, 'push_source_name');
      await push.toSource(source, optionalText(body, 'to') ?? 'online', frameOf(body), callOf(request));
      return reply.code(200).send();
    });

    app.post('/write-to-online-store', async (request, reply) => {
      const body = parseBody(textOf(request));
      await push.toView(requiredText(body, 'feature_view_name'), frameOf(body), callOf(request));
      return reply.type('application/json').send('null');
    });

    for (const path of ['/materialize', '/materialize-incremental']) {
      app.post<{ Querystring: { async?: string } }>(path, async (request, reply) => {
        const asynchronous = /^(true|1|yes|on)$/i.test(request.query.async ?? '');
        const range = path === '/materialize' ? 'start and end' : 'end';
        const { status, answer } = await materialize(catalog, parseBody(textOf(request)), { range, asynchronous });
        return reply.code(status).send(answer);
      });
    }

    app.get('/health', (_request, reply) => reply.code(ready() ? 200 : 503).send());
  };
}

function textOf(request: FastifyRequest): string {
  return typeof request.body === 'string' ? request.body : '';
}

function frameOf(body: Readonly<Record<string, unknown>>) {
  const { df } = body;
  if (df === undefined) throw new BodyError('missing', ['df'], 'Field required');
  if (!isObject(df)) throw new BodyError('dict_type', ['df'], 'Input should be a valid dictionary');
  return parseFrame(df);
}

function callOf(request: FastifyRequest) {
  const key = request.headers['idempotency-key'];
  return { idempotencyKey: typeof key === 'string' && key !== '' ? key : undefined };
}

function answerError(thrown: Error & { statusCode?: number }, reply: FastifyReply, telemetry: Telemetry) {
  if (thrown instanceof BodyError) return reply.code(422).send({ detail: [thrown.detail] });
  if (!(thrown instanceof MeshError) && thrown.statusCode !== undefined && thrown.statusCode < 500)
    return reply.code(thrown.statusCode).type('application/json').send(JSON.stringify(thrown.message));
  const error = toMeshError(thrown);
  const status = feastHttpStatus(error);
  if (status >= 500) telemetry.log.warn({ event: 'feast_failed', reason: error.reason, message: error.message });
  if (error.retryAfterMs !== undefined) reply.header('retry-after', Math.ceil(error.retryAfterMs / 1000));
  return reply
    .code(status)
    .type('application/json')
    .header('x-millrace-reason', error.reason)
    .send(feastErrorBody(error));
}
