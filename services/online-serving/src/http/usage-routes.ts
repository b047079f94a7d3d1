import { MeshError } from '@millrace/kernel';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Usage } from '../app/usage.ts';
import { failed, jsonSchema } from './rest-schemas.ts';

const daysMax = 400;
const query = z.object({
  days: z.coerce.number().int().min(1).max(daysMax).default(30).describe('How far back, to the hour.'),
});
const used = z.object({
  view: z.string(),
  feature: z.string(),
  feature_service: z.string(),
  consumer: z.string().describe('What the caller said of itself (x-millrace-caller), or its host.'),
  requests: z.int(),
  rows: z.int(),
  last_read: z.string(),
});
const answer = z.object({
  since: z.string(),
  used: z.array(used).describe('The most rows first; at most 10,000.'),
  unused: z
    .array(z.object({ view: z.string(), feature: z.string() }))
    .describe('Features of current views that nobody read.'),
});

/** Who reads what, and what nobody reads. */
export function usageRoutes(usage: Pick<Usage, 'report'>) {
  return async function routes(app: FastifyInstance): Promise<void> {
    app.get('/v1/usage', {
      schema: {
        summary: 'Who reads which feature, when last, and which features nobody reads',
        tags: ['metadata'],
        querystring: jsonSchema(query, 'input'),
        response: { 200: jsonSchema(answer), 400: failed, 503: failed },
      },
      async handler(request): Promise<z.output<typeof answer>> {
        const parsed = query.safeParse(request.query);
        if (!parsed.success) {
          throw new MeshError('INVALID_ARGUMENT', `days is not a number of days from 1 to ${daysMax}; as ?days=30`, {
            field: 'days',
          });
        }
        const report = await usage.report(parsed.data.days);
        return {
          since: new Date(report.sinceMs).toISOString(),
          used: report.used.map((use) => ({
            view: use.view,
            feature: use.feature,
            feature_service: use.featureService,
            consumer: use.consumer,
            requests: use.requests,
            rows: use.rows,
            last_read: new Date(use.lastReadMs).toISOString(),
          })),
          unused: [...report.unused],
        };
      },
    });
  };
}
