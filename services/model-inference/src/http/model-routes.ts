import { MeshError } from '@millrace/kernel';
import type { FastifyInstance } from 'fastify';
import type { DriftMonitor } from '../app/drift-monitor.ts';
import { type OipServer, serverMetadata } from '../app/oip-server.ts';
import { toStatistics } from '../app/statistics-message.ts';
import { loadOverrides } from '../domain/repository-layout.ts';
import { configJson, snakeJson } from './snake-json.ts';

interface Named {
  readonly model?: string;
  readonly version?: string;
}

/** What the server and its models are and do; all but inference. */
export function modelRoutes(server: OipServer, ready: () => boolean, drift: DriftMonitor | undefined) {
  const { repository } = server;
  const statistics = ({ model = '', version = '' }: Named) => ({
    model_stats: server.statistics(model, version).map((of) => snakeJson(toStatistics(of.name, of.version, of.meter))),
  });

  return async function routes(app: FastifyInstance): Promise<void> {
    const schema = (summary: string) => ({ schema: { summary, tags: ['models'] } });
    app.get('/v2', schema('The server'), () => serverMetadata);
    app.get('/v2/health/live', schema('Is it up'), () => ({ live: true }));
    app.get('/v2/health/ready', schema('Have all models loaded or failed'), (_request, reply) =>
      reply.code(ready() ? 200 : 400).send({ ready: ready() }),
    );
    app.get('/v2/models/stats', schema('Statistics of all models'), () => statistics({}));
    for (const path of ['/v2/models/:model', '/v2/models/:model/versions/:version']) {
      app.get<{ Params: Named }>(path, schema('Its tensors'), ({ params: { model = '', version = '' } }) => {
        const { versions, platform, inputs, outputs } = server.metadata(model, version);
        return { name: model, versions, platform, inputs, outputs };
      });
      app.get<{ Params: Named }>(`${path}/ready`, schema('Is it loaded'), ({ params }, reply) => {
        const isReady = server.isReady(params.model ?? '', params.version ?? '');
        const why = isReady ? {} : { reason: server.reason(params.model ?? '', params.version ?? '') };
        return reply.code(isReady ? 200 : 400).send({ name: params.model, ready: isReady, ...why });
      });
      app.get<{ Params: Named }>(`${path}/config`, schema('Its configuration, as Triton has it'), ({ params }) =>
        configJson(server.config(params.model ?? '', params.version ?? '')),
      );
      if (drift)
        app.get<{ Params: Named }>(
          `${path}/drift`,
          schema('Recent predictions beside what it was trained on'),
          ({ params: { model = '', version = '' } }) => ({
            rows_min: drift.rowsMin,
            versions: driftJson(drift, model, version),
          }),
        );
      app.get<{ Params: Named }>(`${path}/stats`, schema('Its statistics'), ({ params }) => statistics(params));
    }
    app.post('/v2/repository/index', schema('The models that there are'), ({ body }) =>
      repository.index(jsonOf(body).ready === true),
    );
    app.post<{ Params: Named }>(
      '/v2/repository/models/:model/load',
      schema('Loads a model'),
      async ({ params, body }) => {
        await repository.load(params.model ?? '', overridesOf(jsonOf(body)));
        return {};
      },
    );
    app.post<{ Params: Named }>(
      '/v2/repository/models/:model/unload',
      schema('Unloads a model'),
      async ({ params }) => {
        await repository.unload(params.model ?? '');
        return {};
      },
    );
  };
}

function driftJson(drift: DriftMonitor, model: string, version: string) {
  return drift.report(model, version).map((one) => ({
    model: one.model,
    version: one.version,
    rows: one.rows,
    rows_total: one.rowsTotal,
    outliers: one.outliers,
    alerting_since_us: one.alertingSinceUs,
    columns: one.columns.map((column) => ({
      ...{ name: column.name, signs: column.signs, psi: column.psi, psi_limit: column.psiLimit, share: column.share },
      ...{ jensen_shannon: column.jensenShannon, ks: column.ks, mean_shift: column.meanShift, cusum: column.cusum },
      ...{ missing_share: column.missingShare, missing_z: column.missingZ },
    })),
  }));
}

function jsonOf(body: unknown): Readonly<Record<string, unknown>> {
  if (!Buffer.isBuffer(body) || body.length === 0) return {};
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
  } catch (cause) {
    throw new MeshError('MALFORMED_PAYLOAD', `the request is not JSON: ${(cause as Error).message}`, {}, { cause });
  }
}

/** Files are base64 in JSON. */
function overridesOf({ parameters }: Readonly<Record<string, unknown>>) {
  const given = Object.entries(typeof parameters === 'object' && parameters !== null ? parameters : {});
  return loadOverrides(
    new Map(
      given.map(([name, value]) => [
        name,
        name.startsWith('file:') && typeof value === 'string' && /^[A-Za-z0-9+/]*={0,2}$/.test(value)
          ? Buffer.from(value, 'base64')
          : value,
      ]),
    ),
  );
}
