import { callerHeader, callerMax } from '@millrace/rpc';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { PlanBook } from '../app/plan-book.ts';
import type { ReadFeatures } from '../app/read-features.ts';
import { readCallOf } from './read-call.ts';
import { answerOf, describePlan } from './rest-answer.ts';
import { parseReadBody, parseReadQuery, type RestRead } from './rest-request.ts';
import {
  failed,
  featureService,
  featureServices,
  jsonSchema,
  readAnswer,
  readBody,
  readQuery,
} from './rest-schemas.ts';

type Named = { Params: { name: string; version?: string } };

const failures = { 400: failed, 404: failed, 409: failed, 429: failed, 503: failed, 504: failed };
const nameParam = { name: { type: 'string', description: 'The feature service.' } };
const versionParam = {
  ...nameParam,
  version: { type: 'string', description: 'The version that is meant, whatever is current.' },
};
const paramsOf = (properties: Readonly<Record<string, unknown>>) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
});
const headers = {
  type: 'object',
  properties: {
    'x-timeout-ms': { type: 'integer', minimum: 1, description: 'How long the read may take.' },
    [callerHeader]: { type: 'string', maxLength: callerMax, description: 'Who reads, for limits and usage.' },
  },
};

/** Feature services, and reads of them: of many rows by POST and of one by GET; each with the version in the path or without. */
export function readRoutes(deps: { readonly plans: PlanBook; readonly readFeatures: ReadFeatures }) {
  const { plans, readFeatures } = deps;

  async function answer({ read, int64As }: RestRead, request: FastifyRequest, reply: FastifyReply) {
    return answerOf(await readFeatures(read, readCallOf(request, reply)), int64As);
  }

  return async function routes(app: FastifyInstance): Promise<void> {
    app.get('/v1/feature-services', {
      schema: {
        summary: 'What can be read',
        tags: ['metadata'],
        response: { 200: jsonSchema(featureServices) },
      },
      handler: () => ({ feature_services: plans.list().map(describePlan) }),
    });

    for (const [path, params] of [
      ['/v1/feature-services/:name', nameParam],
      ['/v1/feature-services/:name/versions/:version', versionParam],
    ] as const) {
      const which = 'version' in params ? 'one version of a feature service' : 'a feature service';
      app.get<Named>(path, {
        schema: {
          summary: `Join keys and features of ${which}`,
          tags: ['metadata'],
          params: paramsOf(params),
          response: { 200: jsonSchema(featureService), 404: failed },
        },
        async handler({ params: { name, version = '' } }) {
          return describePlan(plans.current(name, version) ?? (await plans.load(name, version)));
        },
      });
      app.post<Named>(`${path}/features`, {
        schema: {
          summary: `Reads ${which} for many entities`,
          tags: ['features'],
          params: paramsOf(params),
          headers,
          body: jsonSchema(readBody, 'input'),
          response: { 200: jsonSchema(readAnswer), ...failures },
        },
        async handler(request, reply) {
          const { name, version } = request.params;
          return answer(await parseReadBody(plans, name, version, request.body), request, reply);
        },
      });
      app.get<Named & { Querystring: Record<string, unknown> }>(`${path}/features`, {
        schema: {
          summary: `Reads ${which} for one entity`,
          description: 'Every parameter that is not named below is a join key, as `?origin=ORD&destination=ATL`.',
          tags: ['features'],
          params: paramsOf(params),
          headers,
          querystring: { ...jsonSchema(readQuery, 'input'), additionalProperties: { type: 'string' } },
          response: { 200: jsonSchema(readAnswer), ...failures },
        },
        async handler(request, reply) {
          const { name, version } = request.params;
          return answer(await parseReadQuery(plans, name, version, request.query), request, reply);
        },
      });
    }
  };
}
