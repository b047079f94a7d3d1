import { MeshError } from '@millrace/kernel';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { SearchFeatures } from '../app/search-features.ts';
import { readCallOf } from './read-call.ts';
import { answerOf } from './rest-answer.ts';
import { failed, jsonSchema, readAnswer } from './rest-schemas.ts';

const key = z.union([z.string(), z.number(), z.boolean()]);
const body = z.strictObject({
  feature: z.string().describe("The vector feature's name in the service."),
  vector: z.array(z.number()).default([]).describe('The query; left out: the vector of `entity`.'),
  entity: z.record(z.string(), key).default({}).describe('The join keys of an entity whose vector is the query.'),
  k: z.int().min(0).default(0).describe('How many hits at most, 1 to 1,000; 10 when it is left out.'),
  metric: z.enum(['cosine', 'l2', 'dot']).default('cosine'),
  filter: z.string().default('').describe("CEL over the service's features and join keys, as `price < 20.0`."),
  exact: z.boolean().default(false).describe('Looks at every vector instead of asking the index.'),
  version: z.string().default(''),
});
const answer = z.object({
  hits: z.array(
    z.object({
      entity: z.record(z.string(), key),
      distance: z.number(),
      features: readAnswer.shape.rows.element.shape.features,
    }),
  ),
  exact: z.boolean(),
  candidates: z.int(),
  limited: z.boolean(),
});

/** Nearest entities by a vector feature. */
export function searchRoutes(searchFeatures: SearchFeatures) {
  return async function routes(app: FastifyInstance): Promise<void> {
    app.post<{ Params: { name: string } }>('/v1/feature-services/:name/search', {
      schema: {
        summary: 'Finds the entities whose vector is nearest',
        tags: ['features'],
        params: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
        body: jsonSchema(body, 'input'),
        response: { 200: jsonSchema(answer), 400: failed, 404: failed, 409: failed, 429: failed, 503: failed },
      },
      async handler(request, reply): Promise<z.output<typeof answer>> {
        const parsed = body.safeParse(request.body ?? {});
        if (!parsed.success) {
          const [issue] = parsed.error.issues;
          throw new MeshError(
            'INVALID_ARGUMENT',
            `the body is not a search: "${issue?.path.join('.')}": ${issue?.message}; send {"feature":…,"vector":[…],"k":10}`,
            {},
          );
        }
        const entity = Object.entries(parsed.data.entity).map(([name, value]) => ({
          name,
          kind:
            typeof value === 'string'
              ? ('STRING' as const)
              : typeof value === 'boolean'
                ? ('BOOL' as const)
                : ('INT64' as const),
          values: [value],
          nullRow: -1,
        }));
        const { matrix, keys, distances, ...rest } = await searchFeatures(
          { ...parsed.data, entity, featureService: request.params.name },
          readCallOf(request, reply),
        );
        const rows = matrix ? answerOf(matrix, 'number').rows : [];
        return {
          hits: rows.map(({ features }, row) => ({
            entity: Object.fromEntries(keys.map(({ name, values }) => [name, plain(values[row])])),
            distance: distances[row] ?? 0,
            features,
          })),
          ...rest,
        };
      },
    });
  };
}

function plain(value: string | number | bigint | boolean | undefined): string | number | boolean {
  return typeof value === 'bigint' ? value.toString() : (value ?? '');
}
